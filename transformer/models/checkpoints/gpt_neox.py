"""GPT-NeoX and Pythia, https://arxiv.org/abs/2204.06745."""

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import TokenClassHeadConfig, TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings
from transformer.hf.table import Family
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints._causal import decoder_heads, head_width
from transformer.models.checkpoints._rope import rotary
from transformer.norms import LayerNormConfig


def body(s: Settings) -> TransformerConfig:
    width, heads = s.size('hidden_size', 6144), s.size('num_attention_heads', 64)
    dropout = s.rate('hidden_dropout')
    layer_norm = LayerNormConfig(s.number('layer_norm_eps', 1e-5))
    s.ignore('classifier_dropout')  # of heads
    s.ignore('is_decoder')  # it is one whatever this says
    s.ignore('attention_probs_dropout_prob', 'hidden_dropout_prob')  # the original reads others
    # Their names before version 5.
    theta, share = s.number('rotary_emb_base', 1e4), s.number('rotary_pct', 0.25)
    head = head_width(width, heads)
    attention = AttentionConfig(
        heads,
        heads,
        head,
        rotary=rotary(s, head, theta=theta, share=share),
        bias=s.flag('attention_bias', True),
        dropout=s.rate('attention_dropout'),
    )
    mlp = MLPConfig(
        s.size('intermediate_size', 24_576), s.activation('hidden_act', 'gelu'), bias=True
    )
    residual = 'parallel_norms' if s.flag('use_parallel_residual', True) else 'pre'
    block = BlockConfig(attention, mlp, layer_norm, residual=residual, dropout=dropout)
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 50_432), width),
        embed=EmbedConfig(width, dropout=dropout),
        stack=StackConfig(width, (block,), s.size('num_hidden_layers', 44), layer_norm),
        head=None,
        context=s.size('max_position_embeddings', 2048),
    )


def token_head(s: Settings) -> TokenHeadConfig:
    return TokenHeadConfig(s.size('vocab_size', 50_432), tied=s.flag('tie_word_embeddings', False))


def token_classes(s: Settings) -> TokenClassHeadConfig:
    return TokenClassHeadConfig(len(s.labels), s.rate('classifier_dropout', 0.1))


BODY = (
    Rule('tokens/table', 'embed_in.weight'),
    *norm('stack/layer/mixer_norm', 'layers.{layer}.input_layernorm'),
    *linear(
        tuple(f'stack/layer/mixer/{name}' for name in ('query', 'key', 'value')),
        'layers.{layer}.attention.query_key_value',
        'n p h',
        'd',
    ),
    *linear('stack/layer/mixer/out', 'layers.{layer}.attention.dense', 'd', 'n h'),
    *norm('stack/layer/mlp_norm', 'layers.{layer}.post_attention_layernorm'),
    *linear('stack/layer/mlp/up', 'layers.{layer}.mlp.dense_h_to_4h', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'layers.{layer}.mlp.dense_4h_to_h', 'd', 'f'),
    *norm('stack/norm', 'final_layer_norm'),
)

FAMILIES = (
    Family(
        'gpt_neox',
        'decoder',
        body,
        BODY,
        'gpt_neox.',
        decoder_heads('GPTNeoX', token_head, token_classes, tokens='embed_out'),
        unused=(
            r'layers\.\d+\.attention\.((masked_)?bias|rotary_emb\.inv_freq)',
            r'embed_out\.weight',
        ),
    ),
)
