"""Phi-1, Phi-1.5 and Phi-2, https://arxiv.org/abs/2309.05463."""

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
from transformer.models.checkpoints._causal import decoder_heads, head_width, own_or_hidden
from transformer.models.checkpoints._rope import rotary
from transformer.norms import LayerNormConfig


def body(s: Settings) -> TransformerConfig:
    width, heads = s.size('hidden_size', 2048), s.size('num_attention_heads', 32)
    head = s.size_or('head_dim', 0) or head_width(width, heads)
    layer_norm = LayerNormConfig(s.number('layer_norm_eps', 1e-5))
    s.ignore('classifier_dropout', 'hidden_dropout')  # of heads
    attention = AttentionConfig(
        heads,
        s.size_or('num_key_value_heads', heads),
        head,
        rotary=rotary(s, head, share=0.5),
        qk_norm=layer_norm if s.flag('qk_layernorm', False) else None,
        bias=True,
        dropout=s.rate('attention_dropout'),
    )
    mlp = MLPConfig(
        s.size('intermediate_size', 8192), s.activation('hidden_act', 'gelu_new'), bias=True
    )
    block = BlockConfig(
        attention, mlp, layer_norm, residual='parallel', dropout=s.rate('resid_pdrop')
    )
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 51_200), width),
        embed=EmbedConfig(width, dropout=s.rate('embd_pdrop')),
        stack=StackConfig(width, (block,), s.size('num_hidden_layers', 24), layer_norm),
        head=None,
        context=s.size('max_position_embeddings', 2048),
    )


def token_head(s: Settings) -> TokenHeadConfig:
    tied = s.flag('tie_word_embeddings', False)
    return TokenHeadConfig(s.size('vocab_size', 51_200), tied, bias=True)


BODY = (
    Rule('tokens/table', 'embed_tokens.weight'),
    *norm('stack/layer/mixer_norm', 'layers.{layer}.input_layernorm'),
    *linear('stack/layer/mixer/query', 'layers.{layer}.self_attn.q_proj', 'n h', 'd'),
    *linear('stack/layer/mixer/key', 'layers.{layer}.self_attn.k_proj', 'k h', 'd'),
    *linear('stack/layer/mixer/value', 'layers.{layer}.self_attn.v_proj', 'k h', 'd'),
    *linear('stack/layer/mixer/out', 'layers.{layer}.self_attn.dense', 'd', 'n h'),
    *norm('stack/layer/mixer/query_norm', 'layers.{layer}.self_attn.q_layernorm'),
    *norm('stack/layer/mixer/key_norm', 'layers.{layer}.self_attn.k_layernorm'),
    *linear('stack/layer/mlp/up', 'layers.{layer}.mlp.fc1', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'layers.{layer}.mlp.fc2', 'd', 'f'),
    *norm('stack/norm', 'final_layernorm'),
)
FAMILIES = (
    Family(
        'phi',
        'decoder',
        body,
        BODY,
        'model.',
        decoder_heads('Phi', token_head, own_or_hidden(0.1), labels='score', answers=False),
        unused=(r'(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq', r'lm_head\.(weight|bias)'),
    ),
)
