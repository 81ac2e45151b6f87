"""From a family's options to the configs of its parts."""

import dataclasses
from typing import Any

from transformer import registry, schedule
from transformer.config import BlockConfig, EmbedConfig, InitConfig, StackConfig, TokensConfig
from transformer.errors import ConfigError
from transformer.heads import (
    ClassHeadConfig,
    MaskedHeadConfig,
    TokenClassHeadConfig,
    TokenHeadConfig,
)
from transformer.mixers.attention import AttentionConfig
from transformer.mixers.cross import CrossAttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.options import BIDIRECTIONAL, MLPS, StackOptions
from transformer.moe import MoEConfig
from transformer.ops.attention import LACKS, OPTIONS, choose
from transformer.positions import (
    AlibiConfig,
    LearnedConfig,
    RelativeBucketsConfig,
    SinusoidalConfig,
)
from transformer.stack import REMAT


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a model must fit: the tokens, the task, the machine.

    Attributes:
      vocab: V; 0 for images.
      context: longest sequence, for encoder-decoders the longest source.
      target_context: longest target of an encoder-decoder.
      head: what reads the stack: 'tokens', 'masked', 'class', 'token_class', 'pooled' or 'none'.
      classes: of the heads that score classes.
      dtype: of activations and matrix products.
      remat: a key of `stack.REMAT`.
      unroll: layers per step of the scan over depth; 0 means all.
      platform: 'cpu', 'gpu' or 'tpu': where `attention='auto'` is to run.
      prefix: whether rows have a prefix that is read in both directions.
      decode: whether the model is to run with caches.
      context_ways: `config.mesh.context`, devices that split a sequence; -1 means some.
      stages: parts of a pipeline that share the layers, `config.mesh.stage`.
      rounds: groups of layers that each of them holds.
      microbatches: of a step.
    """

    vocab: int
    context: int
    target_context: int = 0
    head: str = 'tokens'
    classes: int = 0
    dtype: str = 'float32'
    remat: str = 'none'
    unroll: int = 1
    platform: str = 'cpu'
    prefix: bool = False
    decode: bool = False
    context_ways: int = 1
    stages: int = 1
    rounds: int = 1
    microbatches: int = 1

    def __post_init__(self):
        if self.remat not in REMAT:
            raise ConfigError('remat', self.remat, f'one of {", ".join(REMAT)}')
        schedule.check_rounds(self.stages, self.microbatches, self.rounds)


def mlp(options: StackOptions, layer: int) -> MLPConfig | MoEConfig | None:
    """The MLP of one layer of the pattern; the last of every `expert_every` has experts."""
    o = options
    if o.mlp == 'none':
        return None
    activation, gated = MLPS[o.mlp]
    common = {
        'hidden': o.hidden or (o.width * 8 // 3 if gated else 4 * o.width),
        'activation': activation,
        'gated': gated,
        'bias': o.bias,
        'init': o.init,
    }
    if not o.experts or (layer + 1) % o.expert_every:
        return MLPConfig(**common)
    return MoEConfig(
        experts=o.experts,
        top_k=o.top_k,
        capacity=o.expert_capacity or None,
        groups=o.expert_groups,
        normalize=o.expert_normalize,
        balance=o.expert_balance,
        router_z=o.expert_z,
        jitter=o.expert_jitter,
        **common,
    )


def stack(
    options: StackOptions,
    sizes: Sizes,
    *,
    causal: bool,
    cross: bool = False,
    depth: int = 0,
    **more,
) -> StackConfig:
    """The stack of blocks.

    Args:
      cross: whether every block attends to an encoder's output.
      depth: layers, where they are not `options.depth`.
      **more: other fields of `StackConfig`.
    """
    o = options
    relative = {
        'alibi': AlibiConfig(o.heads),
        't5': RelativeBucketsConfig(o.heads, bidirectional=not causal),
    }.get(o.positions)
    backend = {'backend': _backend(o, sizes, relative, causal)}
    if sizes.prefix and not set(o.mixers) <= set(BIDIRECTIONAL):
        accepted = f'{", ".join(BIDIRECTIONAL)} for a prefix, which is read in both directions'
        raise ConfigError('model.mixers', o.mixers, accepted)
    pattern = []
    for i in range(o.pattern_length()):
        mixer = registry.names()[o.mixers[i % len(o.mixers)]].of(o)
        if isinstance(mixer, AttentionConfig):
            mixer = dataclasses.replace(mixer, **backend)
        memory = dataclasses.replace(CrossAttentionConfig.of(o), **backend) if cross else None
        block = BlockConfig(
            mixer, mlp(o, i), o.norm_config, memory, o.residual, o.dropout, o.drop_path
        )
        pattern.append(block)
    repeats = (depth or o.depth) // len(pattern)
    schedule.check_layers(repeats, o.shared, sizes.stages, sizes.rounds)
    fields = {
        # After post-norm the stream is normalised already.
        'norm': None if o.residual == 'post' else o.norm_config,
        'relative': relative,
        'shared': o.shared,
        'dtype': sizes.dtype,
        'remat': sizes.remat,
        'unroll': sizes.unroll or repeats,
        'rounds': sizes.rounds,
        'microbatches': sizes.microbatches,
    }
    return StackConfig(o.width, tuple(pattern), repeats, causal=causal, **fields | more)


def _backend(options: StackOptions, sizes: Sizes, relative: Any, causal: bool) -> str:
    """The attention backend; one that is named must have what the options ask of it."""
    o = options
    asked = {
        'dropout': o.dropout > 0,
        'bias': relative is not None,
        'distances': False,  # they come with imported models alone
        'softcap': o.attention_softcap > 0,
        'prefix': sizes.prefix,
        'decode': sizes.decode,
    }
    # A backend that is for training only is no reason not to write text; `choose` logs which can.
    only_trains = sizes.decode and 'decode' in LACKS.get(o.attention, ())
    if o.attention == 'auto' or only_trains:
        head_width = o.head_width or o.width // o.heads
        asked['context'] = sizes.context_ways != 1  # -1 is what is left
        return choose(sizes.platform, dtype=sizes.dtype, head_width=head_width, **asked)
    if not causal:  # no caches and no prefixes there
        asked |= {'prefix': False, 'decode': False}
    lacks = {name: [option for option in LACKS[name] if asked[option]] for name in LACKS}
    if lacks[o.attention]:
        have = ', '.join(repr(name) for name in ('auto', *LACKS) if not lacks.get(name))
        missing = ', no '.join(OPTIONS[option] for option in lacks[o.attention])
        raise ConfigError('model.attention', o.attention, f'{have}; this one has no {missing}')
    return o.attention


def embed(
    options: StackOptions, context: int, *, norm: bool = False, scale: bool = False, **more
) -> EmbedConfig:
    """The way into the stack.

    Args:
      context: places that a learned table has.
      norm: whether the embedding is normalised.
      scale: whether token vectors are multiplied by sqrt(width).
      **more: other fields of `EmbedConfig`.
    """
    o = options
    fields = {
        'positions': {
            'learned': LearnedConfig(context, o.init),
            'sinusoidal': SinusoidalConfig(),
        }.get(o.positions),
        'norm': o.norm_config if norm else None,
        'scale': o.width**0.5 if scale else 1.0,
        'dropout': o.dropout,
        'init': o.init,
    }
    return EmbedConfig(o.width, **fields | more)


def tokens(options: StackOptions, vocab: int, width: int = 0, scale: bool = False) -> TokensConfig:
    """The table of tokens; vectors that are scaled up by sqrt(width) start smaller."""
    init = InitConfig(options.width**-0.5) if scale else options.init
    return TokensConfig(vocab, width or options.width, init)


def head(
    options: StackOptions,
    sizes: Sizes,
    *,
    tied: bool = True,
    pool: str = 'first',
    pooler: str = '',
    token_width: int = 0,
    **more,
) -> Any:
    """The config of the head that `sizes.head` names, or None.

    Args:
      tied: whether a token head reads the table of tokens.
      pool: of a class head, a key of `heads.POOLS`.
      pooler: activation of the dense layer before its scores; '' means no such layer.
      token_width: of the table of tokens; 0 means the options' width.
      **more: other fields of `TokenHeadConfig`.
    """
    o, common = options, {'dropout': options.dropout, 'init': options.init}
    heads = {
        'tokens': lambda: TokenHeadConfig(sizes.vocab, tied=tied, init=o.init, **more),
        'masked': lambda: MaskedHeadConfig(
            sizes.vocab, token_width or o.width, o.norm_config, MLPS[o.mlp][0], init=o.init
        ),
        'class': lambda: ClassHeadConfig(sizes.classes, pool, pooler, **common),
        'pooled': lambda: ClassHeadConfig(0, pool, pooler, **common),
        'token_class': lambda: TokenClassHeadConfig(sizes.classes, **common),
        'none': lambda: None,
    }
    return heads[sizes.head]()
