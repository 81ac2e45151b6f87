"""DistilBERT, https://arxiv.org/abs/1910.01108: BERT without types and without a pooler."""

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import ClassHeadConfig, MaskedHeadConfig, TokenClassHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints import bert
from transformer.norms import LayerNormConfig
from transformer.positions import LearnedConfig

NORM = LayerNormConfig(1e-12)  # config.json does not say


def body(s: Settings) -> TransformerConfig:
    width, heads = s.size('dim', 768), s.size('n_heads', 12)
    dropout, length = s.rate('dropout', 0.1), s.size('max_position_embeddings', 512)
    s.ignore('sinusoidal_pos_embds')  # how the table of positions started
    s.ignore('tie_weights_')  # `tie_word_embeddings` is what is read
    s.ignore('qa_dropout', 'seq_classif_dropout')  # of heads
    attention = AttentionConfig(
        heads, heads, width // heads, bias=True, dropout=s.rate('attention_dropout', 0.1)
    )
    mlp = MLPConfig(s.size('hidden_dim', 3072), s.activation('activation', 'gelu'), bias=True)
    block = BlockConfig(attention, mlp, NORM, residual='post', dropout=dropout, mixer_dropout=0.0)
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 30_522), width),
        embed=EmbedConfig(width, LearnedConfig(length), norm=NORM, dropout=dropout),
        stack=StackConfig(width, (block,), s.size('n_layers', 6), causal=False),
        head=None,
        context=length,
    )


def masked_head(s: Settings) -> MaskedHeadConfig:
    return MaskedHeadConfig(
        s.size('vocab_size', 30_522),
        s.size('dim', 768),
        NORM,
        s.activation('activation', 'gelu'),
        s.flag('tie_word_embeddings', True),
    )


def class_head(s: Settings) -> ClassHeadConfig:
    return ClassHeadConfig(len(s.labels), 'first', 'relu', s.rate('seq_classif_dropout', 0.2))


def token_classes(s: Settings) -> TokenClassHeadConfig:
    return TokenClassHeadConfig(len(s.labels), s.rate('dropout', 0.1))


BODY = (
    *bert.EMBED,
    *linear('stack/layer/mixer/query', 'transformer.layer.{layer}.attention.q_lin', 'n h', 'd'),
    *linear('stack/layer/mixer/key', 'transformer.layer.{layer}.attention.k_lin', 'n h', 'd'),
    *linear('stack/layer/mixer/value', 'transformer.layer.{layer}.attention.v_lin', 'n h', 'd'),
    *linear('stack/layer/mixer/out', 'transformer.layer.{layer}.attention.out_lin', 'd', 'n h'),
    *norm('stack/layer/mixer_norm', 'transformer.layer.{layer}.sa_layer_norm'),
    *linear('stack/layer/mlp/up', 'transformer.layer.{layer}.ffn.lin1', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'transformer.layer.{layer}.ffn.lin2', 'd', 'f'),
    *norm('stack/layer/mlp_norm', 'transformer.layer.{layer}.output_layer_norm'),
)
MASKED = (
    *linear('head/dense', 'vocab_transform', 'e', 'd'),
    *norm('head/norm', 'vocab_layer_norm'),
    Rule('head/kernel', 'vocab_projector.weight'),
    Rule('head/bias', 'vocab_projector.bias'),
)

FAMILIES = (
    Family(
        'distilbert',
        'encoder',
        body,
        BODY,
        'distilbert.',
        {
            'DistilBertForMaskedLM': Head('masked', masked_head, MASKED),
            'DistilBertModel': Head(base=True),
            'DistilBertForSequenceClassification': Head(
                'class',
                class_head,
                (*linear('head/dense', 'pre_classifier', 'e', 'd'), *bert.scores('classifier')),
            ),
            'DistilBertForTokenClassification': Head(
                'token_class', token_classes, bert.scores('classifier')
            ),
            'DistilBertForQuestionAnswering': Head(
                'span',
                lambda s: TokenClassHeadConfig(2, s.rate('qa_dropout', 0.1)),
                bert.scores('qa_outputs'),
            ),
        },
        unused=(r'embeddings\.position_ids', r'vocab_projector\.weight'),
        settle=bert.tied_if_equal('distilbert.', 'vocab_projector.weight'),
    ),
)
