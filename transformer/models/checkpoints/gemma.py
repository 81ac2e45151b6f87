"""Gemma 1, https://arxiv.org/abs/2403.08295, and Gemma 2, https://arxiv.org/abs/2408.00118."""

import dataclasses

from transformer.config import BlockConfig, TransformerConfig
from transformer.heads import TokenHeadConfig
from transformer.hf.rules import norm
from transformer.hf.settings import Settings, refusal
from transformer.models.checkpoints import llama
from transformer.models.checkpoints.llama import Defaults
from transformer.models.checkpoints.mistral import window

GEMMA = Defaults(
    vocab=256_000,
    width=3072,
    hidden=24_576,
    layers=28,
    heads=16,
    kv_heads=16,
    head_width=256,
    length=8192,
    tied=True,
)
GEMMA2 = dataclasses.replace(GEMMA, width=2304, hidden=9216, layers=26, heads=8, kv_heads=4)
TANH = 'gelu_pytorch_tanh'


def activation(s: Settings) -> str:
    """Gemma 1's, which files say in one of two fields; 'gelu' means the approximation by tanh."""
    fields = ('hidden_activation', 'hidden_act')
    given = {name: s.get(name) for name in fields if s.get(name) is not None}
    found = {s.activation(name, TANH) for name in given} or {'gelu_tanh'}
    found = {'gelu_tanh' if name == 'gelu' else name for name in found}
    if len(found) > 1:
        raise refusal('hidden_act', given['hidden_act'], 'the same as in hidden_activation')
    return found.pop()


def attention(s: Settings, d: Defaults, **more):
    s.only('use_bidirectional_attention', None, False)
    return llama.attention(s, d, bias=s.flag('attention_bias', False), **more)


def gemma(s: Settings) -> TransformerConfig:
    d = GEMMA
    mixer, mlp = attention(s, d), llama.gated(s, d, activation=activation(s))
    rms_norm = llama.rms_norm(s, d, 1.0)
    scale = s.size('hidden_size', d.width) ** 0.5  # rounded, there and here, to the type of x
    return llama.decoder(s, d, lambda layer: BlockConfig(mixer, mlp, rms_norm), rms_norm, scale)


def softcap(s: Settings, name: str, default: float) -> float | None:
    """A bound above 0, or None."""
    value = s.get(name, default)
    if value is not None and s.number(name, default) <= 0:
        raise refusal(name, value, 'a number above 0, or null')
    return value


def gemma2(s: Settings) -> TransformerConfig:
    d = GEMMA2
    s.ignore('hidden_act', 'sliding_window_size', 'cache_implementation')  # others stand for them
    s.ignore('final_logit_softcapping')  # of the head
    mixer = attention(
        s,
        d,
        scale=s.number('query_pre_attn_scalar', 256) ** -0.5,
        softcap=softcap(s, 'attn_logit_softcapping', 50.0),
    )
    windows = llama.layer_windows(s, d, window(s, 4096), lambda layer: layer % 2 == 0)
    mlp = llama.gated(s, d, activation=s.activation('hidden_activation', TANH))
    rms_norm = llama.rms_norm(s, d, 1.0)

    def block(layer: int) -> BlockConfig:
        attends = dataclasses.replace(mixer, window=windows[layer])
        return BlockConfig(attends, mlp, rms_norm, residual='sandwich')

    scale = s.size('hidden_size', d.width) ** 0.5
    return llama.decoder(s, d, block, rms_norm, scale)


def capped_head(s: Settings) -> TokenHeadConfig:
    cap = softcap(s, 'final_logit_softcapping', 30.0)
    return dataclasses.replace(llama.token_head(GEMMA2)(s), softcap=cap or 0.0)


SANDWICH = (
    *llama.BODY,
    *norm('stack/layer/mixer_norm_after', 'layers.{layer}.post_attention_layernorm'),
    *norm('stack/layer/mlp_norm', 'layers.{layer}.pre_feedforward_layernorm'),
    *norm('stack/layer/mlp_norm_after', 'layers.{layer}.post_feedforward_layernorm'),
)

FAMILIES = (
    llama.family('gemma', gemma, llama.heads('Gemma', GEMMA, answers=None), pad=0),
    llama.family(
        'gemma2', gemma2, llama.heads('Gemma2', GEMMA2, capped_head, answers=None), SANDWICH, 0
    ),
)
