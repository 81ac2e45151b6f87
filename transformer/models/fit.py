"""A model's config fitted to the machine and the task: types, rematerialisation, kernels."""

import dataclasses
from typing import Any

from transformer import schedule
from transformer.config import EncoderDecoderConfig, StackConfig, TransformerConfig
from transformer.errors import ConfigError
from transformer.mixers.disentangled import DistancesConfig
from transformer.ops.attention import LACKS, OPTIONS, choose

STACKS = ('stack', 'encoder', 'decoder')


def fit(config: Any, sizes: Any, attention: str = 'auto') -> Any:
    """The config with what `assemble.Sizes` says of the machine and of the rows.

    Args:
      config: of a whole model.
      attention: 'auto', or a key of `ops.attention.BACKENDS` for all layers.

    Raises:
      ConfigError: a backend that lacks what a layer asks of it.
    """
    changes: dict[str, Any] = {
        name: _stack(getattr(config, name), sizes, attention)
        for name in STACKS
        if hasattr(config, name)
    }
    if isinstance(config, TransformerConfig | EncoderDecoderConfig) and sizes.context:
        changes['context'] = sizes.context
    if isinstance(config, EncoderDecoderConfig):
        changes['target_context'] = sizes.target_context or sizes.context
    return dataclasses.replace(config, **changes)


def _stack(stack: StackConfig, sizes: Any, attention: str) -> StackConfig:
    def part(config: Any) -> Any:
        if not hasattr(config, 'backend'):
            return config
        return dataclasses.replace(config, backend=_backend(config, stack, sizes, attention))

    schedule.check_layers(stack.repeats, stack.shared, sizes.stages, sizes.rounds)
    pattern = tuple(
        dataclasses.replace(block, mixer=part(block.mixer), cross=part(block.cross))
        for block in stack.pattern
    )
    return dataclasses.replace(
        stack,
        pattern=pattern,
        dtype=sizes.dtype,
        remat=sizes.remat,
        unroll=sizes.unroll or stack.repeats,
        rounds=sizes.rounds,
        microbatches=sizes.microbatches,
    )


def _backend(config: Any, stack: StackConfig, sizes: Any, attention: str) -> str:
    distances = isinstance(stack.relative, DistancesConfig)
    asked = {
        'dropout': config.dropout > 0,
        'bias': stack.relative is not None and not distances,
        'distances': distances,
        'softcap': config.softcap is not None,
        'prefix': sizes.prefix,
        'decode': sizes.decode,
    }
    only_trains = sizes.decode and 'decode' in LACKS.get(attention, ())
    if attention == 'auto' or only_trains:
        asked['context'] = sizes.context_ways != 1  # -1 is what is left
        return choose(sizes.platform, dtype=sizes.dtype, head_width=config.head_width, **asked)
    if attention not in LACKS:
        raise ConfigError('model.attention', attention, f'one of auto, {", ".join(LACKS)}')
    if not stack.causal:  # no caches and no prefixes there
        asked |= {'prefix': False, 'decode': False}
    missing = [OPTIONS[option] for option in LACKS[attention] if asked[option]]
    if missing:
        accepted = f"'auto', or one that has {' and '.join(missing)}"
        raise ConfigError('model.attention', attention, accepted)
    return attention


def periodic(blocks: list[Any]) -> tuple[tuple[Any, ...], int]:
    """The shortest pattern that gives these blocks when it is repeated, and how often."""
    for length in range(1, len(blocks) + 1):
        whole = len(blocks) % length == 0
        if whole and all(blocks[i] == blocks[i % length] for i in range(len(blocks))):
            return tuple(blocks[:length]), len(blocks) // length
    raise ValueError('there are no blocks')
