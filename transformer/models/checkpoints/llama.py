"""LLaMA 1 to 3, https://arxiv.org/abs/2302.13971, and the parts of what was made after it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import ClassHeadConfig, TokenClassHeadConfig, TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints._rope import rotary
from transformer.models.fit import periodic
from transformer.norms import RMSNormConfig


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a file of the family may leave out."""

    vocab: int = 32_000
    width: int = 4096
    hidden: int = 11_008
    layers: int = 32
    heads: int = 32
    kv_heads: int | None = None
    head_width: int | None = None
    length: int = 2048
    eps: float = 1e-6
    theta: float = 1e4
    tied: bool = False


DEFAULTS = Defaults()


def attention(s: Settings, d: Defaults, **more) -> AttentionConfig:
    """The attention that all have in common; `more` are fields in which a family differs."""
    width, heads = s.size('hidden_size', d.width), s.size('num_attention_heads', d.heads)
    kv_heads = _size_or(s, 'num_key_value_heads', d.kv_heads, heads)
    if heads % kv_heads:
        accepted = f'a divisor of num_attention_heads={heads}'
        raise refusal('num_key_value_heads', kv_heads, accepted)
    if width % heads and s.get('head_dim', d.head_width) is None:
        raise refusal(
            'num_attention_heads', heads, f'a divisor of hidden_size={width}, or head_dim'
        )
    head_width = _size_or(s, 'head_dim', d.head_width, width // heads)
    turning = rotary(s, head_width, theta=d.theta, length=d.length, share=None)
    dropout = s.rate('attention_dropout')
    return AttentionConfig(heads, kv_heads, head_width, rotary=turning, dropout=dropout, **more)


def _size_or(s: Settings, name: str, default: int | None, otherwise: int) -> int:
    return otherwise if s.get(name, default) is None else s.size(name, default)


def gated(s: Settings, d: Defaults, **more) -> MLPConfig:
    """The MLP that all have in common."""
    if 'activation' not in more:
        more['activation'] = s.activation('hidden_act', 'silu')
    return MLPConfig(s.size('intermediate_size', d.hidden), gated=True, **more)


def rms_norm(s: Settings, d: Defaults, offset: float = 0.0) -> RMSNormConfig:
    return RMSNormConfig(s.number('rms_norm_eps', d.eps), offset)


def decoder(
    s: Settings, d: Defaults, block: Callable[[int], BlockConfig], norm: Any, scale: float = 1.0
) -> TransformerConfig:
    """A decoder of blocks, given by the number of the layer.

    Args:
      scale: factor on the token vectors.
    """
    s.ignore('classifier_dropout', 'hidden_dropout', 'token_classification_bias')  # of heads
    width = s.size('hidden_size', d.width)
    layers = s.size('num_hidden_layers', d.layers)
    pattern, repeats = periodic([block(layer) for layer in range(layers)])
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', d.vocab), width),
        embed=EmbedConfig(width, scale=scale),
        stack=StackConfig(width, pattern, repeats, norm),
        head=None,
        context=s.size('max_position_embeddings', d.length),
    )


def layer_windows(
    s: Settings, d: Defaults, window: int | None, slides: Callable[[int], bool]
) -> list[int | None]:
    """The window of each layer, by `layer_types`.

    Args:
      window: of the layers that have one.
      slides: whether a layer has one, where the file does not say.

    Raises:
      UserError: another kind of layer, not one for each, or no window where one is needed.
    """
    layers, given = s.size('num_hidden_layers', d.layers), s.get('layer_types')
    if given is None:
        return [window if slides(layer) else None for layer in range(layers)]
    known = ('full_attention', 'sliding_attention')
    if not isinstance(given, list | tuple) or len(given) != layers or set(given) - set(known):
        raise refusal('layer_types', given, f'{layers} times {" or ".join(known)}')
    if window is None and 'sliding_attention' in given:
        accepted = "only 'full_attention', as there is no sliding_window"
        raise refusal('layer_types', given, accepted)
    return [window if kind == 'sliding_attention' else None for kind in given]


def token_head(d: Defaults) -> Callable[[Settings], TokenHeadConfig]:
    def make(s: Settings) -> TokenHeadConfig:
        tied = s.flag('tie_word_embeddings', d.tied)
        return TokenHeadConfig(s.size('vocab_size', d.vocab), tied=tied)

    return make


def token_classes(s: Settings) -> TokenClassHeadConfig:
    dropout = s.first(('classifier_dropout', 'hidden_dropout'), 0.1)
    bias = s.flag('token_classification_bias', True)
    return TokenClassHeadConfig(len(s.labels), dropout, bias=bias)


ATTENTION = (
    *norm('stack/layer/mixer_norm', 'layers.{layer}.input_layernorm'),
    *linear('stack/layer/mixer/query', 'layers.{layer}.self_attn.q_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/key', 'layers.{layer}.self_attn.k_proj', 'k h', 'd'),
    *linear('stack/layer/mixer/value', 'layers.{layer}.self_attn.v_proj', 'k h', 'd'),
    *linear('stack/layer/mixer/out', 'layers.{layer}.self_attn.o_proj', 'd', 'n h'),
)
MLP = (
    *norm('stack/layer/mlp_norm', 'layers.{layer}.post_attention_layernorm'),
    *linear('stack/layer/mlp/gate', 'layers.{layer}.mlp.gate_proj', 'f', 'd'),
    *linear('stack/layer/mlp/up', 'layers.{layer}.mlp.up_proj', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'layers.{layer}.mlp.down_proj', 'd', 'f'),
)
EDGES = (Rule('tokens/table', 'embed_tokens.weight'), *norm('stack/norm', 'norm'))
BODY = (*EDGES, *ATTENTION, *MLP)
UNUSED = (
    r'layers\.\d+\.self_attn\.rotary_emb\.inv_freq',
    r'rotary_emb\.inv_freq',
    r'lm_head\.weight',
)


def heads(
    name: str,
    d: Defaults,
    tokens: Callable[[Settings], Any] | None = None,
    answers: str | None = '',
) -> dict[str, Head]:
    """The classes that all families of this kind have.

    Args:
      name: what their names begin with.
      tokens: of the language model's head, where it is not `token_head(d)`.
      answers: what the names of tensors of the class for answers begin with, '' as in the others;
        None means that there is no such class.
    """
    found = {
        f'{name}ForCausalLM': Head(
            'tokens', tokens or token_head(d), (Rule('head/kernel', 'lm_head.weight'),)
        ),
        f'{name}Model': Head(base=True),
        f'{name}ForSequenceClassification': Head(
            'class',
            lambda s: ClassHeadConfig(len(s.labels), 'last', bias=False),
            linear('head/classes', 'score', 'c', 'd'),
        ),
        f'{name}ForTokenClassification': Head(
            'token_class', token_classes, linear('head/classes', 'score', 'c', 'd')
        ),
    }
    if answers is None:
        return found
    return found | {
        f'{name}ForQuestionAnswering': Head(
            'span',
            lambda s: TokenClassHeadConfig(2),
            linear('head/classes', 'qa_outputs', 'c', 'd'),
            prefix=answers,
        )
    }


def family(
    model_type: str,
    body: Callable[[Settings], TransformerConfig],
    heads: dict[str, Head],
    rules: Sequence[Rule] = BODY,
    pad: int | None = None,
) -> Family:
    rules = tuple(rules)
    return Family(model_type, 'decoder', body, rules, 'model.', heads, unused=UNUSED, pad=pad)


def body(s: Settings) -> TransformerConfig:
    d = DEFAULTS
    s.ignore('max_sequence_length')  # a remark in the first conversions
    mixer = attention(s, d, bias=s.flag('attention_bias', False))
    mlp, norm = gated(s, d, bias=s.flag('mlp_bias', False)), rms_norm(s, d)
    return decoder(s, d, lambda layer: BlockConfig(mixer, mlp, norm), norm)


FAMILIES = (family('llama', body, heads('Llama', DEFAULTS, answers='transformer.')),)
