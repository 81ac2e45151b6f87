"""ALBERT, https://arxiv.org/abs/1909.11942: layers that share their parameters."""

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import ClassHeadConfig, MaskedHeadConfig, TokenClassHeadConfig
from transformer.hf.rules import linear, norm
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints import bert
from transformer.positions import LearnedConfig

# Of variants that were never released; the original's library does not read them.
PLANS = {'down_scale_factor': 1, 'gap_size': 0, 'net_structure_type': 0, 'num_memory_blocks': 0}


def body(s: Settings) -> TransformerConfig:
    width, heads = s.size('hidden_size', 4096), s.size('num_attention_heads', 64)
    dropout, layer_norm = s.rate('hidden_dropout_prob'), bert.norm_config(s)
    length, depth = s.size('max_position_embeddings', 512), s.size('num_hidden_layers', 12)
    s.only('position_embedding_type', 'absolute')
    groups = s.size('num_hidden_groups', 1)
    if groups > depth:
        raise refusal('num_hidden_groups', groups, f'at most num_hidden_layers, {depth}')
    for name, value in PLANS.items():
        s.only(name, value)
    s.ignore('classifier_dropout_prob')  # of heads
    attention = AttentionConfig(
        heads,
        heads,
        width // heads,
        bias=True,
        dropout=s.rate('attention_probs_dropout_prob'),
    )
    mlp = MLPConfig(
        s.size('intermediate_size', 16_384), s.activation('hidden_act', 'gelu_new'), bias=True
    )
    block = BlockConfig(attention, mlp, layer_norm, residual='post', mixer_dropout=dropout)
    pattern = (block,) * s.size('inner_group_num', 1)
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 30_000), s.size('embedding_size', 128)),
        embed=EmbedConfig(
            width,
            LearnedConfig(length),
            s.size('type_vocab_size', 2),
            layer_norm,
            dropout=dropout,
            project=True,
        ),
        stack=StackConfig(width, pattern, depth, causal=False, shared=True, groups=groups),
        head=None,
        context=length,
    )


def masked_head(s: Settings) -> MaskedHeadConfig:
    return MaskedHeadConfig(
        s.size('vocab_size', 30_000),
        s.size('embedding_size', 128),
        bert.norm_config(s),
        s.activation('hidden_act', 'gelu_new'),
        s.flag('tie_word_embeddings', True),
    )


def class_dropout(s: Settings) -> float:
    """Of the heads that score classes."""
    return s.rate('classifier_dropout_prob', 0.1)


LAYERS = 'encoder.albert_layer_groups.{group}.albert_layers.{inner}'
BODY = (
    *bert.EMBED,
    *linear('embed/project', 'encoder.embedding_hidden_mapping_in', 'd', 'e'),
    *linear('stack/layer/mixer/query', f'{LAYERS}.attention.query', 'n h', 'd'),
    *linear('stack/layer/mixer/key', f'{LAYERS}.attention.key', 'n h', 'd'),
    *linear('stack/layer/mixer/value', f'{LAYERS}.attention.value', 'n h', 'd'),
    *linear('stack/layer/mixer/out', f'{LAYERS}.attention.dense', 'd', 'n h'),
    *norm('stack/layer/mixer_norm', f'{LAYERS}.attention.LayerNorm'),
    *linear('stack/layer/mlp/up', f'{LAYERS}.ffn', 'f', 'd'),
    *linear('stack/layer/mlp/down', f'{LAYERS}.ffn_output', 'd', 'f'),
    *norm('stack/layer/mlp_norm', f'{LAYERS}.full_layer_layer_norm'),
)

FAMILIES = (
    Family(
        'albert',
        'encoder',
        body,
        BODY,
        'albert.',
        {
            'AlbertForMaskedLM': Head(
                'masked',
                masked_head,
                bert.masked_rules('predictions.dense', 'predictions.LayerNorm', 'predictions'),
            ),
            'AlbertModel': Head(
                'pooled',
                lambda s: ClassHeadConfig(0, 'first', 'tanh'),
                bert.pooler('pooler'),
                base=True,
            ),
            'AlbertForSequenceClassification': Head(
                'class',
                lambda s: ClassHeadConfig(len(s.labels), 'first', 'tanh', class_dropout(s)),
                (*bert.pooler('albert.pooler'), *bert.scores('classifier')),
            ),
            'AlbertForTokenClassification': Head(
                'token_class',
                lambda s: TokenClassHeadConfig(len(s.labels), class_dropout(s)),
                bert.scores('classifier'),
            ),
            'AlbertForQuestionAnswering': bert.ANSWERS,
        },
        unused=(
            r'embeddings\.(position|token_type)_ids',
            r'predictions\.decoder\.(weight|bias)',
            r'sop_classifier\.classifier\.(weight|bias)',  # the order of A and B: of pre-training
        ),
        settle=bert.tied_if_equal('albert.', 'predictions.decoder.weight'),
    ),
)
