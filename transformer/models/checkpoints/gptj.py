"""GPT-J, https://github.com/kingoflolz/mesh-transformer-jax."""

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Family
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints._causal import decoder_heads, head_width
from transformer.models.checkpoints.gpt2 import SUMMARY
from transformer.norms import LayerNormConfig
from transformer.positions import RotaryConfig


def body(s: Settings) -> TransformerConfig:
    width, heads = s.size('n_embd', 4096), s.size('n_head', 16)
    turned, length = s.size('rotary_dim', 64), s.size('n_positions', 2048)
    head = head_width(width, heads, 'n_head')
    if turned % 2 or turned > head:
        accepted = f'an even number up to {head}, the width of a head'
        raise refusal('rotary_dim', turned, accepted)
    s.only('rotary', True)
    s.only('scale_attn_weights', True)
    s.ignore(*SUMMARY)  # of a head that the original no longer has
    layer_norm = LayerNormConfig(s.number('layer_norm_epsilon', 1e-5))
    attention = AttentionConfig(
        heads,
        heads,
        head,
        rotary=RotaryConfig(width=turned, interleaved=True),
        dropout=s.rate('attn_pdrop'),
    )
    mlp = MLPConfig(
        s.size_or('n_inner', 4 * width), s.activation('activation_function', 'gelu_new'), bias=True
    )
    block = BlockConfig(
        attention, mlp, layer_norm, residual='parallel', dropout=s.rate('resid_pdrop')
    )
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 50_400), width),
        embed=EmbedConfig(width, dropout=s.rate('embd_pdrop')),
        stack=StackConfig(width, (block,), s.size('n_layer', 28), layer_norm),
        head=None,
        context=length,
    )


def token_head(s: Settings) -> TokenHeadConfig:
    tied = s.flag('tie_word_embeddings', False)
    return TokenHeadConfig(s.size('vocab_size', 50_400), tied, bias=True)


BODY = (
    Rule('tokens/table', 'wte.weight'),
    *norm('stack/layer/mixer_norm', 'h.{layer}.ln_1'),
    *linear('stack/layer/mixer/query', 'h.{layer}.attn.q_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/key', 'h.{layer}.attn.k_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/value', 'h.{layer}.attn.v_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/out', 'h.{layer}.attn.out_proj', 'd', 'n h'),
    *linear('stack/layer/mlp/up', 'h.{layer}.mlp.fc_in', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'h.{layer}.mlp.fc_out', 'd', 'f'),
    *norm('stack/norm', 'ln_f'),
)
FAMILIES = (
    Family(
        'gptj',
        'decoder',
        body,
        BODY,
        'transformer.',
        decoder_heads('GPTJ', token_head),
        unused=(r'h\.\d+\.attn\.((masked_)?bias|embed_positions)', r'lm_head\.(weight|bias)'),
    ),
)
