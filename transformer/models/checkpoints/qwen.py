"""Qwen2, https://arxiv.org/abs/2407.10671, and Qwen3, https://arxiv.org/abs/2505.09388."""

import dataclasses

from transformer.config import BlockConfig, TransformerConfig
from transformer.hf.rules import Rule
from transformer.hf.settings import Settings, refusal
from transformer.models.checkpoints import llama
from transformer.models.checkpoints.llama import Defaults
from transformer.models.checkpoints.mistral import window
from transformer.models.checkpoints.mixtral import experts, moe

QWEN2 = Defaults(vocab=151_936, hidden=22_016, kv_heads=32, length=32_768)
QWEN3 = dataclasses.replace(QWEN2, head_width=128)
QWEN3_MOE = Defaults(vocab=151_936, width=2048, hidden=6144, layers=24, kv_heads=4, length=32_768)


def window_or_none(s: Settings) -> int | None:
    """The window, if it is used."""
    s.ignore('sliding_window')
    return window(s, 4096) if s.flag('use_sliding_window', False) else None


def body(s: Settings, d: Defaults, **more) -> TransformerConfig:
    first = s.get('max_window_layers', 28)
    if not isinstance(first, int):
        raise refusal('max_window_layers', first, 'a whole number')
    windows = llama.layer_windows(s, d, window_or_none(s), lambda layer: layer >= first)
    mixer = llama.attention(s, d, **more)
    mlp, norm = llama.gated(s, d), llama.rms_norm(s, d)

    def block(layer: int) -> BlockConfig:
        return BlockConfig(dataclasses.replace(mixer, window=windows[layer]), mlp, norm)

    return llama.decoder(s, d, block, norm)


def qwen2(s: Settings) -> TransformerConfig:
    return body(s, QWEN2, bias=True, out_bias=False)


def qwen3(s: Settings) -> TransformerConfig:
    bias = s.flag('attention_bias', False)
    return body(s, QWEN3, bias=bias, qk_norm=llama.rms_norm(s, QWEN3))


def qwen3_moe(s: Settings) -> TransformerConfig:
    """Experts in every n-th layer but those that are listed."""
    d = QWEN3_MOE
    s.ignore('max_window_layers')  # all layers have the window
    norm = llama.rms_norm(s, d)
    bias = s.flag('attention_bias', False)
    mixer = llama.attention(s, d, bias=bias, qk_norm=norm, window=window_or_none(s))
    layers, dense = s.size('num_hidden_layers', d.layers), s.get('mlp_only_layers') or ()
    step = s.size('decoder_sparse_step', 1)
    sparse = [n not in dense and (n + 1) % step == 0 for n in range(layers)]
    name = 'num_experts' if 'num_experts' in s.values else 'num_local_experts'
    many = moe(
        s,
        s.size('moe_intermediate_size', 768),
        s.size(name, 128),
        s.size('num_experts_per_tok', 8),
        max(sum(sparse), 1),
        normalize=s.flag('norm_topk_prob', False),
    )
    one = llama.gated(s, d)
    return llama.decoder(s, d, lambda n: BlockConfig(mixer, many if sparse[n] else one, norm), norm)


NORMS = (
    Rule('stack/layer/mixer/query_norm/scale', 'layers.{layer}.self_attn.q_norm.weight'),
    Rule('stack/layer/mixer/key_norm/scale', 'layers.{layer}.self_attn.k_norm.weight'),
)
RULES = (*llama.BODY, *NORMS)
EXPERTS = experts('mlp.gate', 'mlp.experts', 'gate_proj', 'up_proj', 'down_proj')
OLD = 'transformer.'  # of the class for answers

FAMILIES = (
    llama.family('qwen2', qwen2, llama.heads('Qwen2', QWEN2, answers=OLD)),
    llama.family('qwen3', qwen3, llama.heads('Qwen3', QWEN3, answers=OLD), RULES),
    llama.family(
        'qwen3_moe',
        qwen3_moe,
        llama.heads('Qwen3Moe', QWEN3_MOE, answers=OLD),
        (*RULES, *EXPERTS),
    ),
)
