"""BERT, https://arxiv.org/abs/1810.04805. RoBERTa and ELECTRA read most of it from here."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.errors import UserError
from transformer.heads import ClassHeadConfig, MaskedHeadConfig, TokenClassHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.norms import LayerNormConfig
from transformer.positions import LearnedConfig

# Of the first checkpoints, whose pooler was described in full; nothing reads them.
POOLER = (
    'pooler_fc_size',
    'pooler_num_attention_heads',
    'pooler_num_fc_layers',
    'pooler_size_per_head',
    'pooler_type',
)
# What holds where a config.json lacks the field.
DEFAULTS = {
    'vocab_size': 30_522,
    'hidden_size': 768,
    'num_attention_heads': 12,
    'num_hidden_layers': 12,
    'intermediate_size': 3072,
}


def body(s: Settings, defaults: Mapping[str, Any] = DEFAULTS, offset: int = 0) -> TransformerConfig:
    """Args:

    defaults: of the family.
    offset: row of the first place in the table of positions.
    """

    def size(name: str) -> int:
        return s.size(name, defaults[name])

    width, heads = size('hidden_size'), size('num_attention_heads')
    dropout, layer_norm = s.rate('hidden_dropout_prob', 0.1), norm_config(s)
    length = s.size('max_position_embeddings', 512) - offset
    s.only('position_embedding_type', 'absolute')
    s.ignore('classifier_dropout', *POOLER)  # of heads
    attention = AttentionConfig(
        heads,
        heads,
        width // heads,
        bias=True,
        dropout=s.rate('attention_probs_dropout_prob', 0.1),
    )
    mlp = MLPConfig(size('intermediate_size'), s.activation('hidden_act', 'gelu'), bias=True)
    block = BlockConfig(attention, mlp, layer_norm, residual='post', dropout=dropout)
    causal = s.flag('is_decoder', False)
    token_width = size('embedding_size') if 'embedding_size' in defaults else width
    return TransformerConfig(
        tokens=TokensConfig(size('vocab_size'), token_width),
        embed=EmbedConfig(
            width,
            LearnedConfig(length, offset=offset),
            s.size('type_vocab_size', 2),
            layer_norm,
            dropout=dropout,
        ),
        stack=StackConfig(width, (block,), size('num_hidden_layers'), causal=causal),
        head=None,
        context=length,
    )


def norm_config(s: Settings) -> LayerNormConfig:
    return LayerNormConfig(s.number('layer_norm_eps', 1e-12))


def masked_head(
    s: Settings, defaults: Mapping[str, Any] = DEFAULTS, activation: str = ''
) -> MaskedHeadConfig:
    """Args:

    defaults: of the family.
    activation: '' means that of the layers.
    """
    width = 'embedding_size' if 'embedding_size' in defaults else 'hidden_size'
    return MaskedHeadConfig(
        s.size('vocab_size', defaults['vocab_size']),
        s.size(width, defaults[width]),
        norm_config(s),
        activation or s.activation('hidden_act', 'gelu'),
        s.flag('tie_word_embeddings', True),
    )


def class_dropout(s: Settings) -> float:
    """Of the heads that score classes."""
    own = s.get('classifier_dropout')
    return s.rate('hidden_dropout_prob', 0.1) if own is None else s.rate('classifier_dropout')


def token_classes(s: Settings) -> TokenClassHeadConfig:
    return TokenClassHeadConfig(len(s.labels), class_dropout(s))


def decoder(read: Callable[[Settings], TransformerConfig]) -> Callable[[Settings], Any]:
    """The body of a class that writes text: it must say that it is a decoder."""

    def causal(s: Settings) -> TransformerConfig:
        s.only('is_decoder', True, default=False)
        return read(s)

    return causal


EMBED = (
    Rule('tokens/table', 'embeddings.word_embeddings.weight'),
    Rule('embed/positions/table', 'embeddings.position_embeddings.weight'),
    Rule('embed/types', 'embeddings.token_type_embeddings.weight'),
    *norm('embed/norm', 'embeddings.LayerNorm'),
)
LAYER = (
    *linear('stack/layer/mixer/query', 'encoder.layer.{layer}.attention.self.query', 'n h', 'd'),
    *linear('stack/layer/mixer/key', 'encoder.layer.{layer}.attention.self.key', 'n h', 'd'),
    *linear('stack/layer/mixer/value', 'encoder.layer.{layer}.attention.self.value', 'n h', 'd'),
    *linear('stack/layer/mixer/out', 'encoder.layer.{layer}.attention.output.dense', 'd', 'n h'),
    *norm('stack/layer/mixer_norm', 'encoder.layer.{layer}.attention.output.LayerNorm'),
    *linear('stack/layer/mlp/up', 'encoder.layer.{layer}.intermediate.dense', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'encoder.layer.{layer}.output.dense', 'd', 'f'),
    *norm('stack/layer/mlp_norm', 'encoder.layer.{layer}.output.LayerNorm'),
)


def masked_rules(dense: str, layer_norm: str, last: str) -> Callable[[Settings], tuple[Rule, ...]]:
    """Of a masked head whose last map has its bias twice, as `bias` and as `decoder.bias`.

    Tied, the two are one tensor. Untied, the original reads the second, and files of before
    version 5 have the first alone.
    """

    def rules(s: Settings) -> tuple[Rule, ...]:
        bias = Rule('head/bias', f'{last}.bias')
        if not s.flag('tie_word_embeddings', True):
            bias = Rule('head/bias', f'{last}.decoder.bias', also=f'{last}.bias')
        return (
            *linear('head/dense', dense, 'e', 'd'),
            *norm('head/norm', layer_norm),
            Rule('head/kernel', f'{last}.decoder.weight'),
            bias,
        )

    return rules


def tied_if_equal(prefix: str, kernel: str) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Of `Family.settle`: a kernel that is not the table is read, whatever config.json says.

    Raises:
      UserError: a tied head with two biases that differ.
    """
    table = f'{prefix}embeddings.word_embeddings.weight'
    above, decoder, _ = kernel.rpartition('.decoder.weight')
    twins = (f'{above}.bias', f'{above}.decoder.bias') if decoder else ()

    def settle(values: dict[str, Any], tensors: Any) -> dict[str, Any]:
        equal = lambda names: np.array_equal(*map(tensors.read, names))  # noqa: E731
        if table in tensors and kernel in tensors and not equal((table, kernel)):
            return values | {'tie_word_embeddings': False}
        both = twins and all(name in tensors for name in twins)
        if both and values.get('tie_word_embeddings', True) and not equal(twins):
            raise UserError(
                f'tensors {twins[0]!r} and {twins[1]!r} differ; accepted: one bias of a head that '
                'is tied, or "tie_word_embeddings": false in config.json'
            )
        return values

    return settle


def scores(name: str) -> tuple[Rule, ...]:
    """The last map of a head that scores classes."""
    return linear('head/classes', name, 'c', 'd')


def pooler(name: str) -> tuple[Rule, ...]:
    """BERT's pooler is the dense layer of our heads."""
    return linear('head/dense', name, 'e', 'd')


MASKED = masked_rules(
    'cls.predictions.transform.dense', 'cls.predictions.transform.LayerNorm', 'cls.predictions'
)
POOLED = Head(
    'pooled', lambda s: ClassHeadConfig(0, 'first', 'tanh'), pooler('pooler.dense'), base=True
)
TOKEN_CLASSES = Head('token_class', token_classes, scores('classifier'))
ANSWERS = Head('span', lambda s: TokenClassHeadConfig(2), scores('qa_outputs'))

FAMILIES = (
    Family(
        'bert',
        'encoder',
        body,
        (*EMBED, *LAYER),
        'bert.',
        {
            'BertForMaskedLM': Head('masked', masked_head, MASKED),
            'BertModel': POOLED,
            'BertLMHeadModel': Head(
                'tokens', masked_head, MASKED, body=decoder(body), shape='decoder'
            ),
            'BertForSequenceClassification': Head(
                'class',
                lambda s: ClassHeadConfig(len(s.labels), 'first', 'tanh', class_dropout(s)),
                (*pooler('bert.pooler.dense'), *scores('classifier')),
            ),
            'BertForTokenClassification': TOKEN_CLASSES,
            'BertForQuestionAnswering': ANSWERS,
        },
        unused=(
            r'embeddings\.(position|token_type)_ids',
            r'cls\.predictions\.decoder\.(weight|bias)',
            r'cls\.seq_relationship\.(weight|bias)',  # whether B follows A: of pre-training
        ),
        settle=tied_if_equal('bert.', 'cls.predictions.decoder.weight'),
    ),
)
