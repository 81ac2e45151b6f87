"""Mamba, https://arxiv.org/abs/2312.00752."""

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
from transformer.hf.table import Family, Head
from transformer.mixers.mamba import MambaConfig
from transformer.norms import RMSNormConfig

# How parameters started, and which of several programs for one sum the original runs.
START = ('time_step_scale', 'time_step_init_scheme', 'time_step_floor', 'rescale_prenorm_residual')
# Of the program that trained it; the original does not read them.
TRAINER = (
    'd_inner',
    'd_model',
    'fused_add_norm',
    'n_layer',
    'pad_vocab_size_multiple',
    'rms_norm',
    'ssm_cfg',
)
PROGRAMS = ('use_mambapy', 'use_associative_scan')
TRAINED = 2048  # tokens of a row in training; config.json does not say


def body(s: Settings) -> TransformerConfig:
    width = s.size('hidden_size', 768)
    inner = s.first(('intermediate_size',)) or int(s.number('expand', 2) * width)
    s.ignore('expand')  # where there is an intermediate_size
    s.ignore('residual_in_fp32')  # of lower precision than float32
    s.ignore(*START, *PROGRAMS, *TRAINER)
    # Versions of the original differ in whether the gate has it too; they agree on this one.
    s.only('hidden_act', 'silu', 'swish')
    rank = s.get('time_step_rank', 'auto')
    if rank != 'auto' and (not isinstance(rank, int) or rank < 1):
        raise refusal('time_step_rank', rank, "'auto' or a whole number above 0")
    mixer = MambaConfig(
        state=s.size('state_size', 16),
        conv=s.size('conv_kernel', 4),
        inner=inner,
        rank=0 if rank == 'auto' else rank,
        step_min=s.number('time_step_min', 1e-3),
        step_max=s.number('time_step_max', 0.1),
        bias=s.flag('use_bias', False),
        conv_bias=s.flag('use_conv_bias', True),
    )
    rms_norm = RMSNormConfig(s.number('layer_norm_epsilon', 1e-5))
    block = BlockConfig(mixer, None, rms_norm)
    return TransformerConfig(
        tokens=TokensConfig(s.size('vocab_size', 50_280), width),
        embed=EmbedConfig(width),
        stack=StackConfig(width, (block,), s.size('num_hidden_layers', 32), rms_norm),
        head=None,
        context=TRAINED,
    )


def token_head(s: Settings) -> TokenHeadConfig:
    return TokenHeadConfig(s.size('vocab_size', 50_280), tied=s.flag('tie_word_embeddings', True))


MIXER, THEIRS = 'stack/layer/mixer', 'layers.{layer}.mixer'
BODY = (
    Rule('tokens/table', 'embeddings.weight'),
    *norm('stack/layer/mixer_norm', 'layers.{layer}.norm'),
    *linear(f'{MIXER}/expand', f'{THEIRS}.in_proj', 'g f', 'd'),
    Rule(f'{MIXER}/conv/kernel', f'{THEIRS}.conv1d.weight', 'f 1 w -> w f'),
    Rule(f'{MIXER}/conv/bias', f'{THEIRS}.conv1d.bias'),
    *linear(f'{MIXER}/parameters', f'{THEIRS}.x_proj', 'r', 'f'),
    *linear(f'{MIXER}/step', f'{THEIRS}.dt_proj', 'f', 'r'),
    Rule(f'{MIXER}/A_log', f'{THEIRS}.A_log'),
    Rule(f'{MIXER}/D', f'{THEIRS}.D'),
    *linear(f'{MIXER}/contract', f'{THEIRS}.out_proj', 'd', 'f'),
    *norm('stack/norm', 'norm_f'),
)

FAMILIES = (
    Family(
        'mamba',
        'decoder',
        body,
        BODY,
        'backbone.',
        {
            'MambaForCausalLM': Head(
                'tokens', token_head, (Rule('head/kernel', 'lm_head.weight'),)
            ),
            'MambaModel': Head(base=True),
        },
        unused=(r'lm_head\.weight',),
    ),
)
