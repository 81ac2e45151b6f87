"""BART, https://arxiv.org/abs/1910.13461, mBART, https://arxiv.org/abs/2001.08210, and Pegasus,
https://arxiv.org/abs/1912.08777.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    EncoderDecoderConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import ClassHeadConfig, TokenClassHeadConfig, TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mixers.cross import CrossAttentionConfig
from transformer.mixers.spare import SpareConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints import _ties
from transformer.norms import LayerNormConfig
from transformer.positions import LearnedConfig

NORM = LayerNormConfig(1e-5)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the families differ in.

    Attributes:
      residual: how branches and norms meet; with 'pre' there is a norm behind the last layer.
      embed_norm: whether token vectors are normalised.
      offset: rows of the table of places before the first place.
      start, end: numbers of these tokens where config.json does not say.
      again: what a decoder that is given nothing reads first, a key of `hf.inputs.FIRST`.
    """

    name: str
    model_type: str
    residual: str = 'post'
    embed_norm: bool = True
    offset: int = 2
    start: int | None = 2
    end: int = 2
    again: str = 'start'


BART = Kind('Bart', 'bart')
MBART = Kind('MBart', 'mbart', 'pre', start=None, again='last')
PEGASUS = Kind('Pegasus', 'pegasus', 'pre', embed_norm=False, offset=0, start=0, end=1)


def stack(s: Settings, kind: Kind, side: str, memory: bool = True) -> StackConfig:
    """The encoder or the decoder.

    Args:
      memory: whether the decoder reads an encoder's output.
    """
    width, heads = s.size('d_model', 1024), s.size(f'{side}_attention_heads', 16)
    s.only(f'{side}_layerdrop', 0.0, 0, None)
    attention = {
        'heads': heads,
        'kv_heads': heads,
        'head_width': width // heads,
        'bias': True,
        'dropout': s.rate('attention_dropout'),
    }
    cross = CrossAttentionConfig(**attention) if side == 'decoder' else None
    mlp = MLPConfig(
        s.size(f'{side}_ffn_dim', 4096),
        s.activation('activation_function', 'gelu'),
        bias=True,
        dropout=s.rate('activation_dropout'),
    )
    block = BlockConfig(
        AttentionConfig(**attention),
        mlp,
        NORM,
        cross if memory else None,
        kind.residual,
        dropout=s.rate('dropout', 0.1),
        join=None if memory or cross is None else SpareConfig(cross, NORM),
    )
    return StackConfig(
        width,
        (block,),
        s.size(f'{side}_layers', 12),
        NORM if kind.residual == 'pre' else None,
        causal=side == 'decoder',
    )


def embed(s: Settings, kind: Kind) -> EmbedConfig:
    width, length = s.size('d_model', 1024), s.size('max_position_embeddings', 1024)
    return EmbedConfig(
        width,
        LearnedConfig(length, offset=kind.offset),
        norm=NORM if kind.embed_norm else None,
        scale=width**0.5 if s.flag('scale_embedding', False) else 1.0,
        dropout=s.rate('dropout', 0.1),
    )


def known(s: Settings, kind: Kind) -> None:
    """Fields of the first versions, which say what the family is, and what changes nothing."""
    s.only('normalize_before', kind.residual == 'pre')
    s.only('normalize_embedding', kind.embed_norm)
    s.only('add_final_layer_norm', kind.residual == 'pre')
    s.only('static_position_embeddings', kind.offset == 0)
    s.only('extra_pos_embeddings', kind.offset or 1)
    # The head's bias is always there, and is zeros where it was not trained.
    s.ignore('add_bias_logits')
    s.ignore('classifier_dropout', 'classif_dropout', '_num_labels')  # of heads
    # Of starting parameters, of generation, and another name of `encoder_layers`.
    s.ignore('init_std', 'force_bos_token_to_be_generated', 'num_hidden_layers', 'save_step')


def tokens(s: Settings) -> TokensConfig:
    return TokensConfig(s.size('vocab_size', 50_265), s.size('d_model', 1024))


def body(s: Settings, kind: Kind) -> EncoderDecoderConfig:
    known(s, kind)
    s.only('is_decoder', False)
    places = embed(s, kind)
    length = places.positions.length
    encoder, decoder = stack(s, kind, 'encoder'), stack(s, kind, 'decoder')
    return EncoderDecoderConfig(
        tokens(s), places, encoder, places, decoder, None, context=length, target_context=length
    )


def decoder(s: Settings, kind: Kind) -> TransformerConfig:
    """The decoder alone: what reads an encoder's output is there, and is passed by."""
    known(s, kind)
    s.ignore('is_decoder')
    s.ignore(*(f'encoder_{x}' for x in ('layers', 'ffn_dim', 'attention_heads', 'layerdrop')))
    places, one = embed(s, kind), stack(s, kind, 'decoder', memory=False)
    return TransformerConfig(tokens(s), places, one, None, context=places.positions.length)


def token_head(s: Settings, bias: bool) -> TokenHeadConfig:
    return TokenHeadConfig(
        s.size('vocab_size', 50_265), s.flag('tie_word_embeddings', True), bias=bias
    )


def class_head(s: Settings) -> ClassHeadConfig:
    dropout = s.rate('classifier_dropout')
    return ClassHeadConfig(len(s.labels), 'last', 'tanh', dropout, dropout)


def attention(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *linear(f'{ours}/query', f'{theirs}.q_proj', 'n h', 'd'),
        *linear(f'{ours}/key', f'{theirs}.k_proj', 'n h', 'd'),
        *linear(f'{ours}/value', f'{theirs}.v_proj', 'n h', 'd'),
        *linear(f'{ours}/out', f'{theirs}.out_proj', 'd', 'n h'),
    )


def stack_rules(ours: str, ours_embed: str, theirs: str) -> tuple[Rule, ...]:
    layer = f'{theirs}.layers.{{layer}}'
    cross = [
        rule
        for place in (f'{ours}/layer', f'{ours}/layer/join')
        for rule in (
            *attention(f'{place}/cross', f'{layer}.encoder_attn'),
            *norm(f'{place}/cross_norm', f'{layer}.encoder_attn_layer_norm'),
        )
    ]
    return (
        Rule(f'{ours_embed}/positions/table', f'{theirs}.embed_positions.weight'),
        *norm(f'{ours_embed}/norm', f'{theirs}.layernorm_embedding'),
        *attention(f'{ours}/layer/mixer', f'{layer}.self_attn'),
        *norm(f'{ours}/layer/mixer_norm', f'{layer}.self_attn_layer_norm'),
        *cross,
        *linear(f'{ours}/layer/mlp/up', f'{layer}.fc1', 'f', 'd'),
        *linear(f'{ours}/layer/mlp/down', f'{layer}.fc2', 'd', 'f'),
        *norm(f'{ours}/layer/mlp_norm', f'{layer}.final_layer_norm'),
        *norm(f'{ours}/norm', f'{theirs}.layer_norm'),
    )


BODY = (
    Rule('tokens/table', _ties.TABLES[0]),
    *stack_rules('encoder', 'encoder_embed', 'encoder'),
    *stack_rules('decoder', 'decoder_embed', 'decoder'),
    *stack_rules('stack', 'embed', 'decoder'),
)
BIAS = 'final_logits_bias'
LM_HEAD = (Rule('head/kernel', _ties.HEAD), Rule('head/bias', BIAS, '1 v -> v'))
DENSE, CLASSES = 'classification_head.dense', 'classification_head.out_proj'
UNUSED = (
    r'shared\.weight',
    r'(encoder|decoder)\.(embed_tokens\.weight|version)',
    r'lm_head\.weight',
)


def sinusoidal(shape: tuple[int, int]) -> np.ndarray:
    """Pegasus' table of places, which older files do not hold."""
    rates = 10_000.0 ** (-np.arange(0, shape[1], 2) / shape[1])
    angles = np.arange(shape[0])[:, None] * rates[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def family(kind: Kind) -> Family:
    """One of the three."""

    def start(s: Settings) -> int:
        return s.first(('decoder_start_token_id', 'bos_token_id'), kind.start or 0)

    name, made = kind.name, functools.partial(body, kind=kind)
    heads = {
        f'{name}ForConditionalGeneration': Head(
            'tokens', functools.partial(token_head, bias=True), LM_HEAD
        ),
        f'{name}Model': Head(base=True),
        f'{name}ForSequenceClassification': Head(
            'class',
            class_head,
            (*linear('head/dense', DENSE, 'e', 'd'), *linear('head/classes', CLASSES, 'c', 'd')),
        ),
        f'{name}ForQuestionAnswering': Head(
            'span',
            lambda s: TokenClassHeadConfig(2),
            linear('head/classes', 'qa_outputs', 'c', 'd'),
        ),
        f'{name}ForCausalLM': Head(
            'tokens',
            functools.partial(token_head, bias=False),
            (LM_HEAD[0], Rule('tokens/table', 'model.decoder.embed_tokens.weight')),
            body=functools.partial(decoder, kind=kind),
            shape='decoder',
        ),
    }
    if kind is PEGASUS:
        for part in ('SequenceClassification', 'QuestionAnswering'):
            del heads[f'{name}For{part}']
    absent: dict[str, Any] = {BIAS: lambda shape: np.zeros(shape, np.float32)}
    if not kind.embed_norm:
        absent |= {f'{side}.embed_positions.weight': sinusoidal for side in ('encoder', 'decoder')}
    table, *copies = _ties.TABLES
    return Family(
        kind.model_type,
        'encoder_decoder',
        made,
        BODY,
        'model.',
        heads,
        unused=UNUSED,
        start=start,
        end=lambda s: s.get('eos_token_id', kind.end),
        shifted=dict.fromkeys(('none', 'tokens', 'class', 'span'), kind.again),
        copies={table: tuple(copies), copies[1]: (table, copies[0])},
        absent=absent,
        settle=_ties.settle,
    )


FAMILIES = tuple(map(family, (BART, MBART, PEGASUS)))
