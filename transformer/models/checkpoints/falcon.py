"""Falcon, https://arxiv.org/abs/2311.16867, in its three forms: 7B, 40B and 180B, RW."""

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
from transformer.models.checkpoints._causal import (
    decoder_heads,
    head_width,
    own_or_hidden,
    size,
)
from transformer.models.checkpoints._rope import rotary
from transformer.norms import LayerNormConfig
from transformer.positions import RoundedAlibiConfig

ROPE = ('rope_parameters', 'rope_scaling', 'rope_theta')


def sizes(s: Settings) -> tuple[int, int]:
    """N and K, heads of queries and of keys."""
    heads = s.size('num_attention_heads', 71)
    own = s.size_or('num_kv_heads', heads)
    if s.flag('new_decoder_architecture', False):
        s.ignore('multi_query')
        if heads % own:
            raise refusal('num_kv_heads', own, f'a divisor of num_attention_heads={heads}')
        return heads, own
    return heads, 1 if s.flag('multi_query', True) else heads


def residual(s: Settings) -> str:
    """How the branches of a block stand to each other."""
    if s.flag('new_decoder_architecture', False):
        s.only('parallel_attn', True)
        s.only('num_ln_in_parallel_attn', None, 1, 2, default=None)
        return 'parallel' if s.get('num_ln_in_parallel_attn') == 1 else 'parallel_norms'
    s.only('num_ln_in_parallel_attn', None, 1, default=None)
    return 'parallel' if s.flag('parallel_attn', True) else 'pre'


def body(s: Settings) -> TransformerConfig:
    width, (heads, kv_heads) = size(s, ('n_embed', 'hidden_size'), 4544), sizes(s)
    length, style, bias = (
        s.size('max_position_embeddings', 2048),
        residual(s),
        s.flag('bias', False),
    )
    layer_norm = LayerNormConfig(s.number('layer_norm_epsilon', 1e-5))
    dropout, weights = s.rate('hidden_dropout'), s.rate('attention_dropout')
    alibi, head = s.flag('alibi', False), head_width(width, heads)
    s.only('apply_residual_connection_post_layernorm', False)
    s.ignore('classifier_dropout')  # of heads
    s.ignore('ff_factor')  # of the trainer
    if alibi:
        s.ignore(*ROPE)
    attention = AttentionConfig(
        heads,
        kv_heads,
        head,
        rotary=None if alibi else rotary(s, head, share=None),
        bias=bias,
        # With rotary positions the original drops none of the weights.
        dropout=weights if alibi else 0.0,
    )
    mlp = MLPConfig(
        s.size_or('ffn_hidden_size', 4 * width), s.activation('activation', 'gelu'), bias=bias
    )
    block = BlockConfig(
        attention,
        mlp,
        layer_norm,
        residual=style,
        dropout=dropout,
        # One after the other, that rate is the first branch's.
        mixer_dropout=weights if style == 'pre' else None,
    )
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 65_024), width),
        embed=EmbedConfig(width),
        stack=StackConfig(
            width,
            (block,),
            s.size('num_hidden_layers', 32),
            layer_norm,
            relative=RoundedAlibiConfig(heads, head**-0.5) if alibi else None,
        ),
        head=None,
        context=length,
    )


def token_head(s: Settings) -> TokenHeadConfig:
    return TokenHeadConfig(s.size('vocab_size', 65_024), tied=s.flag('tie_word_embeddings', True))


MIXER, THEIRS = 'stack/layer/mixer', 'h.{layer}.self_attention'
NORMS = {  # of the mixer and of the MLP
    'pre': ('input_layernorm', 'post_attention_layernorm'),
    'parallel': ('input_layernorm', ''),
    'parallel_norms': ('ln_attn', 'ln_mlp'),
}


def rules(s: Settings) -> tuple[Rule, ...]:
    """Beside each key and value head, in one tensor, lie its query heads."""
    heads, kv_heads = sizes(s)
    shares, (mixer_norm, mlp_norm) = (heads // kv_heads, 1, 1), NORMS[residual(s)]
    names, fused = ('query', 'key', 'value'), f'{THEIRS}.query_key_value'
    kernels = tuple(f'{MIXER}/{name}/kernel' for name in names)
    biases = tuple(f'{MIXER}/{name}/bias' for name in names)
    return (
        Rule('tokens/table', 'word_embeddings.weight'),
        Rule(kernels, f'{fused}.weight', '(k p h) d -> d (k p) h', shares=shares),
        Rule(biases, f'{fused}.bias', '(k p h) -> (k p) h', shares=shares),
        *linear(f'{MIXER}/out', f'{THEIRS}.dense', 'd', 'n h'),
        *linear('stack/layer/mlp/up', 'h.{layer}.mlp.dense_h_to_4h', 'f', 'd'),
        *linear('stack/layer/mlp/down', 'h.{layer}.mlp.dense_4h_to_h', 'd', 'f'),
        *norm('stack/layer/mixer_norm', f'h.{{layer}}.{mixer_norm}'),
        *(norm('stack/layer/mlp_norm', f'h.{{layer}}.{mlp_norm}') if mlp_norm else ()),
        *norm('stack/norm', 'ln_f'),
    )


FAMILIES = (
    Family(
        'falcon',
        'decoder',
        body,
        rules,
        'transformer.',
        decoder_heads('Falcon', token_head, own_or_hidden(0.0)),
        unused=(r'lm_head\.weight', r'h\.\d+\.self_attention\.rotary_emb\.inv_freq'),
    ),
)
