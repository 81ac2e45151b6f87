"""GPT-2, https://openai.com/index/better-language-models."""

from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.heads import ClassHeadConfig, TokenClassHeadConfig, TokenHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.fit import periodic
from transformer.norms import LayerNormConfig
from transformer.positions import LearnedConfig

# Of GPT2DoubleHeadsModel, which is not here.
SUMMARY = (
    'summary_type',
    'summary_use_proj',
    'summary_activation',
    'summary_proj_to_labels',
    'summary_first_dropout',
)


def body(s: Settings) -> TransformerConfig:
    width, heads, depth = s.size('n_embd', 768), s.size('n_head', 12), s.size('n_layer', 12)
    length, dropout = s.size('n_positions', 1024), s.rate('resid_pdrop', 0.1)
    scaled, by_layer = (
        s.flag('scale_attn_weights', True),
        s.flag('scale_attn_by_inverse_layer_idx', False),
    )
    s.ignore('reorder_and_upcast_attn')  # of float16
    s.ignore(*SUMMARY, 'classifier_dropout', 'hidden_dropout')  # of heads
    layer_norm = LayerNormConfig(s.number('layer_norm_epsilon', 1e-5))

    def block(layer: int) -> BlockConfig:
        scale = (width // heads) ** -0.5 if scaled else 1.0
        attention = AttentionConfig(
            heads,
            heads,
            width // heads,
            scale=scale / (layer + 1) if by_layer else scale,
            bias=True,
            dropout=s.rate('attn_pdrop', 0.1),
        )
        mlp = MLPConfig(
            s.size_or('n_inner', 4 * width),
            s.activation('activation_function', 'gelu_new'),
            bias=True,
        )
        return BlockConfig(attention, mlp, layer_norm, dropout=dropout)

    pattern, repeats = periodic([block(layer) for layer in range(depth)])
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 50_257), width),
        embed=EmbedConfig(width, LearnedConfig(length), dropout=s.rate('embd_pdrop', 0.1)),
        stack=StackConfig(width, pattern, repeats, layer_norm),
        head=None,
        context=length,
    )


def token_head(s: Settings) -> TokenHeadConfig:
    return TokenHeadConfig(s.size('vocab_size', 50_257), tied=s.flag('tie_word_embeddings', True))


def token_classes(s: Settings) -> TokenClassHeadConfig:
    dropout = s.first(('classifier_dropout', 'hidden_dropout'), 0.1)
    return TokenClassHeadConfig(len(s.labels), dropout)


BODY = (
    Rule('tokens/table', 'wte.weight'),
    Rule('embed/positions/table', 'wpe.weight'),
    *norm('stack/layer/mixer_norm', 'h.{layer}.ln_1'),
    *linear(
        tuple(f'stack/layer/mixer/{name}' for name in ('query', 'key', 'value')),
        'h.{layer}.attn.c_attn',
        'p n h',
        'd',
        conv1d=True,
    ),
    *linear('stack/layer/mixer/out', 'h.{layer}.attn.c_proj', 'd', 'n h', conv1d=True),
    *norm('stack/layer/mlp_norm', 'h.{layer}.ln_2'),
    *linear('stack/layer/mlp/up', 'h.{layer}.mlp.c_fc', 'f', 'd', conv1d=True),
    *linear('stack/layer/mlp/down', 'h.{layer}.mlp.c_proj', 'd', 'f', conv1d=True),
    *norm('stack/norm', 'ln_f'),
)
LM_HEAD = (Rule('head/kernel', 'lm_head.weight'),)

FAMILIES = (
    Family(
        'gpt2',
        'decoder',
        body,
        BODY,
        'transformer.',
        {
            'GPT2LMHeadModel': Head('tokens', token_head, LM_HEAD),
            'GPT2Model': Head(base=True),
            'GPT2ForSequenceClassification': Head(
                'class',
                lambda s: ClassHeadConfig(len(s.labels), 'last', bias=False),
                linear('head/classes', 'score', 'c', 'd'),
            ),
            'GPT2ForTokenClassification': Head(
                'token_class', token_classes, linear('head/classes', 'classifier', 'c', 'd')
            ),
            'GPT2ForQuestionAnswering': Head(
                'span',
                lambda s: TokenClassHeadConfig(2),
                linear('head/classes', 'qa_outputs', 'c', 'd'),
            ),
        },
        unused=(r'h\.\d+\.attn\.(masked_)?bias', r'.*lm_head\.weight'),
    ),
)
