"""Mistral, https://arxiv.org/abs/2310.06825: LLaMA with a window."""

from transformer.config import BlockConfig, TransformerConfig
from transformer.hf.settings import Settings
from transformer.models.checkpoints import llama
from transformer.models.checkpoints.llama import Defaults

DEFAULTS = Defaults(hidden=14_336, kv_heads=8, length=131_072)


def window(s: Settings, default: int | None) -> int | None:
    """How far back all layers see; null means all of it."""
    given = s.get('sliding_window', default)
    return given if given is None else s.size('sliding_window', default)


def body(s: Settings) -> TransformerConfig:
    d = DEFAULTS
    mixer = llama.attention(s, d, window=window(s, 4096))
    mlp, norm = llama.gated(s, d), llama.rms_norm(s, d)
    return llama.decoder(s, d, lambda layer: BlockConfig(mixer, mlp, norm), norm)


FAMILIES = (llama.family('mistral', body, llama.heads('Mistral', DEFAULTS)),)
