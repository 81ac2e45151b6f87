"""T5, https://arxiv.org/abs/1910.10683, T5 1.1, https://arxiv.org/abs/2002.05202, and mT5,
https://arxiv.org/abs/2010.11934.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    EncoderDecoderConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.errors import UserError
from transformer.heads import ClassHeadConfig, TokenClassHeadConfig, TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import ACTIVATIONS, Settings, refusal
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mixers.cross import CrossAttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints import _ties
from transformer.models.fit import periodic
from transformer.norms import RMSNormConfig
from transformer.positions import RelativeBucketsConfig

# What a config.json that does not say means.
T5 = {
    'vocab_size': 32_128,
    'd_ff': 2048,
    'num_layers': 6,
    'num_heads': 8,
    'feed_forward_proj': 'relu',
}
MT5 = {
    'vocab_size': 250_112,
    'd_ff': 1024,
    'num_layers': 8,
    'num_heads': 6,
    'feed_forward_proj': 'gated-gelu',
}


def mlp(s: Settings, default: dict[str, Any]) -> MLPConfig:
    """`feed_forward_proj` as 'relu' or 'gated-gelu', or taken apart in two newer fields."""
    name = s.get('feed_forward_proj', default['feed_forward_proj'])
    parts = name.split('-') if isinstance(name, str) else []
    if (
        not 1 <= len(parts) <= 2
        or parts[-1] not in ACTIVATIONS
        or (parts[:-1] or ['gated']) != ['gated']
    ):
        known = ', '.join(ACTIVATIONS)
        raise refusal('feed_forward_proj', name, f"one of {known}, or 'gated-' before one of them")
    gated = s.flag('is_gated_act', len(parts) == 2)
    # T5 1.1 was trained with the approximation by tanh.
    activation = s.activation('dense_act_fn', 'gelu_new' if name == 'gated-gelu' else parts[-1])
    hidden, dropout = s.size('d_ff', default['d_ff']), s.rate('dropout_rate', 0.1)
    return MLPConfig(hidden, activation, gated, dropout=dropout)


def stack(
    s: Settings, default: dict[str, Any], layers: int, decoder: bool, mlp: Callable[[int], Any]
) -> StackConfig:
    """One of the two stacks.

    Args:
      default: of `num_heads` and `d_model`.
      mlp: from the number of a layer to the config of its MLP.
    """
    width, heads = (
        s.size('d_model', default.get('d_model', 512)),
        s.size('num_heads', default['num_heads']),
    )
    dropout = s.rate('dropout_rate', 0.1)
    rms_norm = RMSNormConfig(s.number('layer_norm_epsilon', 1e-6))
    attention = {
        'heads': heads,
        'kv_heads': heads,
        'head_width': s.size('d_kv', 64),
        'scale': 1.0,
        'dropout': dropout,
    }
    buckets = s.size('relative_attention_num_buckets', 32)
    farthest = s.size('relative_attention_max_distance', 128)
    try:
        relative = RelativeBucketsConfig(heads, buckets, farthest, bidirectional=not decoder)
    except ValueError as error:
        raise UserError(f'config.json: relative_attention_num_buckets: {error}') from None
    cross = CrossAttentionConfig(**attention) if decoder else None
    mixer = AttentionConfig(**attention)
    pattern, repeats = periodic(
        [BlockConfig(mixer, mlp(i), rms_norm, cross, dropout=dropout) for i in range(layers)]
    )
    return StackConfig(
        width, pattern, repeats, rms_norm, causal=decoder, relative=relative, dropout=dropout
    )


def whole(
    s: Settings, default: dict[str, Any], encoder: StackConfig, decoder: StackConfig
) -> EncoderDecoderConfig:
    """Both stacks over one table of tokens. There are no tables of places: rows may be longer."""
    context = s.size('n_positions', 512)
    embed = EmbedConfig(encoder.width, dropout=s.rate('dropout_rate', 0.1))
    tokens = TokensConfig(s.size('vocab_size', default['vocab_size']), encoder.width)
    return EncoderDecoderConfig(
        tokens, embed, encoder, embed, decoder, head=None, context=context, target_context=context
    )


def encoder_of(config: EncoderDecoderConfig) -> TransformerConfig:
    """The encoder alone."""
    return TransformerConfig(
        config.tokens, config.encoder_embed, config.encoder, head=None, context=config.context
    )


def body(s: Settings, default: dict[str, Any]) -> EncoderDecoderConfig:
    s.only('is_decoder', False)
    s.ignore('classifier_dropout', 'scale_decoder_outputs')  # of heads
    layers = s.size('num_layers', default['num_layers'])
    depth = s.size_or('num_decoder_layers', layers)
    encoder = stack(s, default, layers, False, lambda _: mlp(s, default))
    decoder = stack(s, default, depth, True, lambda _: mlp(s, default))
    return whole(s, default, encoder, decoder)


def token_head(s: Settings, scaled: Callable[[Settings], bool], default) -> TokenHeadConfig:
    tied, width = s.flag('tie_word_embeddings', True), s.size('d_model', 512)
    scale = width**-0.5 if scaled(s) else 1.0
    return TokenHeadConfig(s.size('vocab_size', default['vocab_size']), tied, scale=scale)


def scaled(s: Settings) -> bool:
    """Whether the head's input is scaled: where config.json was written by a tied model."""
    return s.flag('scale_decoder_outputs', s.get('tie_word_embeddings') is not False)


def class_head(s: Settings) -> ClassHeadConfig:
    dropout = s.rate('classifier_dropout')
    return ClassHeadConfig(len(s.labels), 'last', 'tanh', dropout, dropout)


def settle(values: dict[str, Any], tensors: Any) -> dict[str, Any]:
    """Head and table are tied if they are equal; whether it is scaled was known before."""
    return settle_tied(values, tensors) | {'scale_decoder_outputs': scaled(Settings(values))}


def settle_tied(values: dict[str, Any], tensors: Any) -> dict[str, Any]:
    return values | {'tie_word_embeddings': not _ties.own_kernel(tensors)}


def attention(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *linear(f'{ours}/query', f'{theirs}.q', 'n h', 'd'),
        *linear(f'{ours}/key', f'{theirs}.k', 'n h', 'd'),
        *linear(f'{ours}/value', f'{theirs}.v', 'n h', 'd'),
        *linear(f'{ours}/out', f'{theirs}.o', 'd', 'n h'),
    )


def stack_rules(
    ours: str, theirs: str, mlp: Callable[[str, str], Sequence[Rule]]
) -> tuple[Rule, ...]:
    """Of a stack.

    Args:
      ours: 'encoder', 'decoder', or 'stack' for an encoder alone.
      theirs: 'encoder' or 'decoder'.
      mlp: from the paths of the MLP, ours and theirs, to its rules.
    """
    block, last = f'{theirs}.block.{{layer}}.layer', 2 if theirs == 'decoder' else 1
    table = f'{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight'
    return (
        Rule(f'{ours}/relative/table', table),
        *norm(f'{ours}/layer/mixer_norm', f'{block}.0.layer_norm'),
        *attention(f'{ours}/layer/mixer', f'{block}.0.SelfAttention'),
        *norm(f'{ours}/layer/cross_norm', f'{block}.1.layer_norm'),
        *attention(f'{ours}/layer/cross', f'{block}.1.EncDecAttention'),
        *norm(f'{ours}/layer/mlp_norm', f'{block}.{last}.layer_norm'),
        *mlp(f'{ours}/layer/mlp', f'{block}.{last}'),
        *norm(f'{ours}/norm', f'{theirs}.final_layer_norm'),
    )


def body_rules(mlp: Callable[[str, str], Sequence[Rule]]) -> tuple[Rule, ...]:
    return (
        Rule('tokens/table', _ties.TABLES[0]),
        *stack_rules('encoder', 'encoder', mlp),
        *stack_rules('stack', 'encoder', mlp),
        *stack_rules('decoder', 'decoder', mlp),
    )


def rules(s: Settings, default: dict[str, Any]) -> tuple[Rule, ...]:
    names = ('wi_0', 'wi_1') if mlp(s, default).gated else ('', 'wi')

    def of_mlp(ours: str, theirs: str) -> tuple[Rule, ...]:
        theirs = f'{theirs}.DenseReluDense'
        gate = linear(f'{ours}/gate', f'{theirs}.{names[0]}', 'f', 'd') if names[0] else ()
        up = linear(f'{ours}/up', f'{theirs}.{names[1]}', 'f', 'd')
        return (*gate, *up, *linear(f'{ours}/down', f'{theirs}.wo', 'd', 'f'))

    return body_rules(of_mlp)


LM_HEAD = (Rule('head/kernel', _ties.HEAD),)
DENSE, CLASSES = 'classification_head.dense', 'classification_head.out_proj'
UNUSED = (
    r'(encoder|decoder)\.embed_tokens\.weight',
    r'lm_head\.weight',
    # Of the first versions of T5, which no forward pass reads.
    r'decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight',
)


def start(s: Settings) -> int:
    """The token that a decoder reads first: padding, where config.json does not say."""
    return s.first(('decoder_start_token_id', 'pad_token_id'), 0)


def end(s: Settings) -> int:
    return s.get('eos_token_id', 1)


def family(name: str, model_type: str, default: dict[str, Any], scaled, settle) -> Family:
    """T5 or mT5."""
    whole = functools.partial(body, default=default)
    alone = {'body': lambda s: encoder_of(whole(s)), 'shape': 'encoder'}
    token_classes = lambda s: TokenClassHeadConfig(len(s.labels), s.rate('classifier_dropout'))  # noqa: E731
    heads = {
        f'{name}ForConditionalGeneration': Head(
            'tokens',
            functools.partial(token_head, scaled=scaled, default=default),
            LM_HEAD,
            base=True,
        ),
        f'{name}Model': Head(base=True),
        f'{name}EncoderModel': Head(base=True, **alone),
        f'{name}ForSequenceClassification': Head(
            'class',
            class_head,
            (*linear('head/dense', DENSE, 'e', 'd'), *linear('head/classes', CLASSES, 'c', 'd')),
        ),
        f'{name}ForTokenClassification': Head(
            'token_class', token_classes, linear('head/classes', 'classifier', 'c', 'd'), **alone
        ),
        f'{name}ForQuestionAnswering': Head(
            'span',
            lambda s: TokenClassHeadConfig(2),
            linear('head/classes', 'qa_outputs', 'c', 'd'),
            base=True,
        ),
    }
    return Family(
        model_type,
        'encoder_decoder',
        whole,
        functools.partial(rules, default=default),
        'transformer.',
        heads,
        unused=UNUSED,
        start=start,
        end=end,
        shifted={'class': 'start', 'span': 'start'},
        copies=_ties.COPIES,
        settle=settle,
    )


FAMILIES = (
    family('T5', 't5', T5, scaled, settle),
    family('MT5', 'mt5', MT5, lambda s: False, settle_tied),
)
