"""BLOOM, https://arxiv.org/abs/2211.05100: ALiBi, and a norm of the embeddings."""

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings
from transformer.hf.table import Family
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints._causal import (
    decoder_heads,
    head_width,
    own_or_hidden,
    size,
)
from transformer.norms import LayerNormConfig
from transformer.positions import AlibiConfig

# Of the program that trained it; the original does not read them.
TRAINER = (
    'attention_softmax_in_fp32',
    'bias_dropout_fusion',
    'masked_softmax_fusion',
    'offset_alibi',
    'skip_bias_add',
    'skip_bias_add_qkv',
)


def body(s: Settings) -> TransformerConfig:
    width = size(s, ('n_embed', 'hidden_size'), 64)
    heads = size(s, ('n_head', 'num_attention_heads'), 8)
    layers = size(s, ('n_layer', 'num_hidden_layers'), 2)
    dropout = s.rate('hidden_dropout')
    layer_norm = LayerNormConfig(s.number('layer_norm_epsilon', 1e-5))
    s.only('apply_residual_connection_post_layernorm', False)
    s.only('n_inner', None, 4 * width, default=None)
    s.ignore('slow_but_exact')  # the same sum in another order
    s.ignore('classifier_dropout')  # of heads
    s.ignore(*TRAINER)
    attention = AttentionConfig(
        heads, heads, head_width(width, heads), bias=True, dropout=s.rate('attention_dropout')
    )
    mlp = MLPConfig(4 * width, 'gelu_tanh', bias=True)
    block = BlockConfig(attention, mlp, layer_norm, dropout=dropout)
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 250_880), width),
        embed=EmbedConfig(width, norm=layer_norm),
        stack=StackConfig(width, (block,), layers, layer_norm, relative=AlibiConfig(heads)),
        head=None,
        context=s.size('seq_length', 2048),
    )


def token_head(s: Settings) -> TokenHeadConfig:
    return TokenHeadConfig(s.size('vocab_size', 250_880), tied=s.flag('tie_word_embeddings', True))


def fused(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Query, key and value of each head beside one another."""
    parts = tuple(f'{ours}/{name}' for name in ('query', 'key', 'value'))
    return linear(parts, theirs, 'n p h', 'd')


MIXER = 'h.{layer}.self_attention'
LAYER = (
    *linear('stack/layer/mixer/out', f'{MIXER}.dense', 'd', 'n h'),
    *linear('stack/layer/mlp/up', 'h.{layer}.mlp.dense_h_to_4h', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'h.{layer}.mlp.dense_4h_to_h', 'd', 'f'),
    *norm('stack/layer/mixer_norm', 'h.{layer}.input_layernorm'),
    *norm('stack/layer/mlp_norm', 'h.{layer}.post_attention_layernorm'),
    *norm('stack/norm', 'ln_f'),
)
BODY = (
    Rule('tokens/table', 'word_embeddings.weight'),
    *norm('embed/norm', 'word_embeddings_layernorm'),
    *fused('stack/layer/mixer', f'{MIXER}.query_key_value'),
    *LAYER,
)
FAMILIES = (
    Family(
        'bloom',
        'decoder',
        body,
        BODY,
        'transformer.',
        decoder_heads('Bloom', token_head, own_or_hidden(0.0)),
        unused=(r'lm_head\.weight',),
    ),
)
