"""DeBERTa, https://arxiv.org/abs/2006.03654, with v2 and v3, https://arxiv.org/abs/2111.09543."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import ClassHeadConfig, MaskedHeadConfig, TokenClassHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mixers.disentangled import (
    ConvolutionConfig,
    DisentangledConfig,
    DistancesConfig,
)
from transformer.mlps import MLPConfig
from transformer.models.checkpoints import bert
from transformer.norms import LayerNormConfig
from transformer.positions import LearnedConfig

OF_HEADS = ('pooler_dropout', 'pooler_hidden_act', 'pooler_hidden_size', 'cls_dropout', 'legacy')
# What holds where a config.json lacks the field.
FIRST = bert.DEFAULTS | {'vocab_size': 50_265}
SECOND = {
    'vocab_size': 128_100,
    'hidden_size': 1536,
    'num_attention_heads': 24,
    'num_hidden_layers': 24,
    'intermediate_size': 6144,
}


def positive(s: Settings, name: str) -> int:
    """A whole number; 0 where it is missing or, as -1 often is, not above 0."""
    value = s.get(name, 0)
    below = isinstance(value, int) and not isinstance(value, bool) and value < 1
    return 0 if below else s.size(name)


def words(s: Settings, name: str, accepted: tuple[str, ...]) -> list[str]:
    """What 'p2c|c2p', or a list, names.

    Raises:
      UserError: it names something else.
    """
    value = s.get(name)
    listed = value.lower().split('|') if isinstance(value, str) else value or []
    found = [str(word).strip() for word in listed] if isinstance(listed, list) else [None]
    if not set(found) <= {*accepted, 'none', ''}:
        raise refusal(name, value, f"'none' or of {', '.join(accepted)} some, with | between them")
    return found


def norm_config(s: Settings) -> LayerNormConfig:
    return LayerNormConfig(s.number('layer_norm_eps', 1e-7))


def distances(s: Settings, width: int, length: int) -> DistancesConfig:
    """What attention reads of how far apart two tokens are."""
    limit = positive(s, 'max_relative_positions') or length
    buckets = positive(s, 'position_buckets')
    normed = 'layer_norm' in words(s, 'norm_rel_ebd', ('layer_norm',))
    if buckets and not 2 <= buckets <= 2 * (limit - 2):
        accepted = f'-1, or from 2 to {2 * (limit - 2)}, as distances end at {limit}'
        raise refusal('position_buckets', buckets, accepted)
    return DistancesConfig(width, limit, buckets, norm_config(s) if normed else None)


def convolution(s: Settings, width: int, dropout: float) -> ConvolutionConfig | None:
    """Of the first layer of DeBERTa-v2's large models."""
    kernel, groups = positive(s, 'conv_kernel_size'), s.size('conv_groups', 1)
    activation = s.activation('conv_act', 'tanh')
    if not kernel:
        return None
    if kernel % 2 == 0:
        raise refusal('conv_kernel_size', kernel, 'an odd number')
    if width % groups:
        raise refusal('conv_groups', groups, f'a divisor of hidden_size={width}')
    return ConvolutionConfig(norm_config(s), kernel, groups, activation, dropout)


def body(s: Settings, defaults: Mapping[str, int] = SECOND, first: bool = False) -> Any:
    """Args:

    defaults: of the family.
    first: whether it is the first version, which has fewer fields.
    """

    def size(name: str) -> int:
        return s.size(name, defaults[name])

    width, heads = size('hidden_size'), size('num_attention_heads')
    if width % heads:
        raise refusal('num_attention_heads', heads, f'a divisor of hidden_size={width}')
    dropout, layer_norm = s.rate('hidden_dropout_prob', 0.1), norm_config(s)
    length, depth = s.size('max_position_embeddings', 512), size('num_hidden_layers')
    s.ignore('padding_idx', *OF_HEADS)
    relative = s.flag('relative_attention', False)
    terms = words(s, 'pos_att_type', ('c2p', 'p2c'))
    both = ('c2p' in terms) + ('p2c' in terms)
    # The first version counts what is named, even 'none'; both count where nothing is added.
    products = 1 + (len(terms) if first else both)
    fields = {
        'heads': heads,
        'kv_heads': heads,
        'head_width': width // heads,
        'scale': (width // heads * products) ** -0.5,
        'bias': True,
        'key_bias': not first,
        'dropout': s.rate('attention_probs_dropout_prob', 0.1),
    }
    if relative and not both:
        raise refusal('pos_att_type', s.get('pos_att_type'), 'c2p, p2c or both, where relative')
    table, shared, join = None, False, None
    if first:
        s.only('talking_head', False)
        s.only('position_buckets', -1)
        s.only('norm_rel_ebd', 'none')
    else:
        s.only('attention_head_size', width // heads)
        shared = s.flag('share_att_key', False)
        join = convolution(s, width, dropout)
    if relative:
        mixer = DisentangledConfig(
            **fields,
            content_to_position='c2p' in terms,
            position_to_content='p2c' in terms,
            shared=shared,
            position_dropout=dropout,
        )
        table = distances(s, width, length)
    else:
        mixer = AttentionConfig(**fields)
        s.ignore('max_relative_positions', 'position_buckets')
        s.only('norm_rel_ebd', 'none')
    mlp = MLPConfig(size('intermediate_size'), s.activation('hidden_act', 'gelu'), bias=True)
    block = BlockConfig(mixer, mlp, layer_norm, residual='post', dropout=dropout)
    pattern, repeats = (block,), depth
    if join is not None:
        pattern, repeats = (dataclasses.replace(block, join=join), *pattern * (depth - 1)), 1
    types = 0 if s.get('type_vocab_size', 0) == 0 else s.size('type_vocab_size')
    return TransformerConfig(
        tokens=TokensConfig(size('vocab_size'), s.size('embedding_size', width)),
        embed=EmbedConfig(
            width,
            LearnedConfig(length) if s.flag('position_biased_input', True) else None,
            types,
            layer_norm,
            dropout=dropout,
            project_bias=False,
            project_first=True,
        ),
        stack=StackConfig(width, pattern, repeats, causal=False, relative=table),
        head=None,
        context=length,
    )


def masked_head(s: Settings, defaults: Mapping[str, int] = SECOND) -> MaskedHeadConfig:
    """With `legacy` that of BERT; without it that of the authors, which is always tied."""
    width = s.size('hidden_size', defaults['hidden_size'])
    token_width, tied = s.size('embedding_size', width), s.flag('tie_word_embeddings', True)
    if not s.flag('legacy', True):
        tied = True
        if token_width != width:
            raise refusal('embedding_size', token_width, f'{width}, as legacy=False')
    return MaskedHeadConfig(
        s.size('vocab_size', defaults['vocab_size']),
        token_width,
        norm_config(s),
        s.activation('hidden_act', 'gelu'),
        tied,
    )


def masked_rules(s: Settings) -> tuple[Rule, ...]:
    if s.flag('legacy', True):
        return bert.MASKED(s)
    own = 'lm_predictions.lm_head'
    return (
        *linear('head/dense', f'{own}.dense', 'e', 'd'),
        *norm('head/norm', f'{own}.LayerNorm'),
        Rule('head/bias', f'{own}.bias'),
    )


def settle(values: dict[str, Any], tensors: Any) -> dict[str, Any]:
    """`legacy` false where nothing says what it is and the masked head is the authors'."""
    if 'legacy' in values or any(re.match(r'cls\.predictions\.', n) for n in tensors.names()):
        return values
    own = 'lm_predictions.lm_head.dense.weight' in tensors
    return values | {'legacy': False} if own else values


def class_head(s: Settings, defaults: Mapping[str, int] = SECOND) -> ClassHeadConfig:
    s.only('pooler_hidden_size', s.size('hidden_size', defaults['hidden_size']))
    own = s.get('cls_dropout')
    return ClassHeadConfig(
        len(s.labels),
        'first',
        s.activation('pooler_hidden_act', 'gelu'),
        s.rate('hidden_dropout_prob', 0.1) if own is None else s.rate('cls_dropout'),
        dense_dropout=s.rate('pooler_dropout', 0.0),
    )


def token_classes(s: Settings) -> TokenClassHeadConfig:
    return TokenClassHeadConfig(len(s.labels), s.rate('hidden_dropout_prob', 0.1))


SELF = 'encoder.layer.{layer}.attention.self'
COMMON = (
    *bert.EMBED,
    *bert.LAYER,
    *linear('embed/project', 'embeddings.embed_proj', 'd', 'e'),
    Rule('stack/relative/table', 'encoder.rel_embeddings.weight'),
)
RULES = (
    *COMMON,
    *norm('stack/relative/norm', 'encoder.LayerNorm'),
    *linear('stack/layer/mixer/query', f'{SELF}.query_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/key', f'{SELF}.key_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/value', f'{SELF}.value_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/position_key', f'{SELF}.pos_key_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/position_query', f'{SELF}.pos_query_proj', 'n h', 'd'),
    Rule('stack/layer/join/kernel', 'encoder.conv.conv.weight', '(g o) i w -> w g i o'),
    Rule('stack/layer/join/bias', 'encoder.conv.conv.bias'),
    *norm('stack/layer/join/norm', 'encoder.conv.LayerNorm'),
)
FIRST_RULES = (
    *COMMON,
    # Query, key and value of one head after another.
    Rule(
        tuple(f'stack/layer/mixer/{name}/kernel' for name in ('query', 'key', 'value')),
        f'{SELF}.in_proj.weight',
        '(n p h) d -> p d n h',
    ),
    Rule('stack/layer/mixer/query/bias', f'{SELF}.q_bias', '(n h) -> n h'),
    Rule('stack/layer/mixer/value/bias', f'{SELF}.v_bias', '(n h) -> n h'),
    *linear('stack/layer/mixer/position_key', f'{SELF}.pos_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/position_query', f'{SELF}.pos_q_proj', 'n h', 'd'),
)


def family(name: str, prefix: str, defaults: Mapping[str, int], first: bool) -> Family:
    """Args:

    prefix: of the names of the classes.
    """
    made = {'defaults': defaults}
    heads = {
        'ForMaskedLM': Head('masked', functools.partial(masked_head, **made), masked_rules),
        'Model': Head(base=True),
        'ForSequenceClassification': Head(
            'class',
            functools.partial(class_head, **made),
            (*bert.pooler('pooler.dense'), *bert.scores('classifier')),
        ),
        'ForTokenClassification': Head('token_class', token_classes, bert.scores('classifier')),
        'ForQuestionAnswering': bert.ANSWERS,
    }
    return Family(
        name,
        'encoder',
        functools.partial(body, first=first, **made),
        FIRST_RULES if first else RULES,
        'deberta.',
        {f'{prefix}{which}': head for which, head in heads.items()},
        unused=(
            r'embeddings\.position_(ids|embeddings\.weight)',
            # Tied copies, the masked head that `legacy` is not, and what finds replaced tokens.
            r'(cls|lm_predictions|mask_predictions)\..*',
        ),
        settle=settle,
        passes_types=True,
    )


FAMILIES = (
    family('deberta-v2', 'DebertaV2', SECOND, first=False),
    family('deberta', 'Deberta', FIRST, first=True),
)
