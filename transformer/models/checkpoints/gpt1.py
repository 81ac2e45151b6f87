"""GPT-1, https://openai.com/index/language-unsupervised."""

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import ClassHeadConfig, TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints.gpt2 import SUMMARY
from transformer.norms import LayerNormConfig
from transformer.positions import LearnedConfig

# This family's own names: its 'gelu' is the approximation by tanh.
ACTIVATIONS = {'gelu': 'gelu_tanh', 'relu': 'relu', 'silu': 'silu', 'swish': 'silu'}


def body(s: Settings) -> TransformerConfig:
    width, heads = s.size('n_embd', 768), s.size('n_head', 12)
    length, dropout = s.size('n_positions', 512), s.rate('resid_pdrop', 0.1)
    name = s.get('afn', 'gelu')
    if name not in ACTIVATIONS:
        raise refusal('afn', name, f'one of {", ".join(ACTIVATIONS)}')
    if width % heads:
        raise refusal('n_head', heads, f'a divisor of n_embd={width}')
    s.ignore(*SUMMARY)  # of OpenAIGPTDoubleHeadsModel
    s.ignore('n_special', 'predict_special_tokens')  # how the first conversion was made
    attention = AttentionConfig(
        heads, heads, width // heads, bias=True, dropout=s.rate('attn_pdrop', 0.1)
    )
    block = BlockConfig(
        attention,
        MLPConfig(4 * width, ACTIVATIONS[name], bias=True),
        LayerNormConfig(s.number('layer_norm_epsilon', 1e-5)),
        residual='post',
        dropout=dropout,
    )
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 40_478), width),
        embed=EmbedConfig(width, LearnedConfig(length), dropout=s.rate('embd_pdrop', 0.1)),
        stack=StackConfig(width, (block,), s.size('n_layer', 12)),
        head=None,
        context=length,
    )


def token_head(s: Settings) -> TokenHeadConfig:
    return TokenHeadConfig(s.size('vocab_size', 40_478), tied=s.flag('tie_word_embeddings', True))


BODY = (
    Rule('tokens/table', 'tokens_embed.weight'),
    Rule('embed/positions/table', 'positions_embed.weight'),
    *linear(
        tuple(f'stack/layer/mixer/{name}' for name in ('query', 'key', 'value')),
        'h.{layer}.attn.c_attn',
        'p n h',
        'd',
        conv1d=True,
    ),
    *linear('stack/layer/mixer/out', 'h.{layer}.attn.c_proj', 'd', 'n h', conv1d=True),
    *norm('stack/layer/mixer_norm', 'h.{layer}.ln_1'),
    *linear('stack/layer/mlp/up', 'h.{layer}.mlp.c_fc', 'f', 'd', conv1d=True),
    *linear('stack/layer/mlp/down', 'h.{layer}.mlp.c_proj', 'd', 'f', conv1d=True),
    *norm('stack/layer/mlp_norm', 'h.{layer}.ln_2'),
)

FAMILIES = (
    Family(
        'openai-gpt',
        'decoder',
        body,
        BODY,
        'transformer.',
        {
            'OpenAIGPTLMHeadModel': Head(
                'tokens', token_head, (Rule('head/kernel', 'lm_head.weight'),)
            ),
            'OpenAIGPTModel': Head(base=True),
            'OpenAIGPTForSequenceClassification': Head(
                'class',
                lambda s: ClassHeadConfig(len(s.labels), 'last', bias=False),
                linear('head/classes', 'score', 'c', 'd'),
            ),
        },
        unused=(r'h\.\d+\.attn\.bias', r'position_ids', r'lm_head\.weight'),
    ),
)
