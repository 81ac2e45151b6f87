"""OPT, https://arxiv.org/abs/2205.01068."""

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
from transformer.models.checkpoints._causal import decoder_heads, head_width
from transformer.norms import LayerNormConfig
from transformer.positions import LearnedConfig


def body(s: Settings) -> TransformerConfig:
    width, heads = s.size('hidden_size', 768), s.size('num_attention_heads', 12)
    token_width = s.size_or('word_embed_proj_dim', width)
    length, bias = s.size('max_position_embeddings', 2048), s.flag('enable_bias', True)
    before, bare = s.flag('do_layer_norm_before', True), s.flag('_remove_final_layer_norm', False)
    s.only('layerdrop', 0.0, 0)
    s.ignore('init_std', 'activation_dropout')  # the second is of the trainer
    affine = s.flag('layer_norm_elementwise_affine', True)
    layer_norm = LayerNormConfig(bias=affine, scale=affine)
    attention = AttentionConfig(
        heads, heads, head_width(width, heads), bias=bias, dropout=s.rate('attention_dropout')
    )
    activation = s.activation('activation_function', 'relu')
    block = BlockConfig(
        attention,
        MLPConfig(s.size('ffn_dim', 3072), activation, bias=bias),
        layer_norm,
        residual='pre' if before else 'post',
        dropout=s.rate('dropout', 0.1),
    )
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 50_272), token_width),
        embed=EmbedConfig(
            width,
            LearnedConfig(length, offset=2),
            project_bias=False,
            project_first=True,
            positions_last=True,
        ),
        stack=StackConfig(
            width,
            (block,),
            s.size('num_hidden_layers', 12),
            layer_norm if before and not bare else None,
            output=token_width if token_width != width else 0,
        ),
        head=None,
        context=length,
    )


def token_head(s: Settings) -> TokenHeadConfig:
    return TokenHeadConfig(s.size('vocab_size', 50_272), tied=s.flag('tie_word_embeddings', True))


BODY = (
    Rule('tokens/table', 'decoder.embed_tokens.weight'),
    Rule('embed/positions/table', 'decoder.embed_positions.weight'),
    *linear('embed/project', 'decoder.project_in', 'd', 'e'),
    *norm('stack/layer/mixer_norm', 'decoder.layers.{layer}.self_attn_layer_norm'),
    *linear('stack/layer/mixer/query', 'decoder.layers.{layer}.self_attn.q_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/key', 'decoder.layers.{layer}.self_attn.k_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/value', 'decoder.layers.{layer}.self_attn.v_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/out', 'decoder.layers.{layer}.self_attn.out_proj', 'd', 'n h'),
    *norm('stack/layer/mlp_norm', 'decoder.layers.{layer}.final_layer_norm'),
    *linear('stack/layer/mlp/up', 'decoder.layers.{layer}.fc1', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'decoder.layers.{layer}.fc2', 'd', 'f'),
    *norm('stack/norm', 'decoder.final_layer_norm'),
    *linear('stack/project', 'decoder.project_out', 'e', 'd'),
)

FAMILIES = (
    Family(
        'opt',
        'decoder',
        body,
        BODY,
        'model.',
        decoder_heads('OPT', token_head),
        unused=(r'lm_head\.weight',),
        places='seen',
        pad=1,
    ),
)
