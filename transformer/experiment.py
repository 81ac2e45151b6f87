"""Everything a user can set, as frozen dataclasses; `default_config()` is the same as a ConfigDict.

A file in `configs/` starts from `default_config()` and changes what its experiment needs.
"""

import dataclasses
import math
from typing import Any

import ml_collections

from transformer.data_config import DataConfig
from transformer.errors import ConfigError
from transformer.mixing import mix
from transformer.objectives import OBJECTIVES
from transformer.tasks import TASKS

KINDS = OBJECTIVES | TASKS  # of `config.objective`


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """`config.optimizer`: AdamW, https://arxiv.org/abs/1711.05101, with warm-up and cosine.

    Attributes:
      warmup: share of the steps over which the rate rises linearly from 0.
      final: learning rate of the last step as a share of the peak.
      b1, b2, eps: Adam's.
      weight_decay: pull towards zero, on matrices only.
      clip: largest global gradient norm; 0 means no clipping.
      offload: whether the moments wait in the host's memory between updates: room on the device for
        the time that copying them takes.
    """

    warmup: float = 0.05
    final: float = 0.1
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0
    offload: bool = False


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """`config.mesh`: devices along each axis; -1 is what is left, at most once.

    Attributes:
      data: copies; each works on its rows of the batch.
      fsdp: rows, and parts of every parameter and of the optimizer state, arxiv.org/abs/1910.02054.
      tensor: heads, hidden units, the vocabulary, https://arxiv.org/abs/1909.08053.
      context: parts of every sequence, https://arxiv.org/abs/2310.01889.
      expert: rows, and experts, https://arxiv.org/abs/2006.16668.
      stage: layers; microbatches flow through them, https://arxiv.org/abs/1811.06965.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    context: int = 1
    expert: int = 1
    stage: int = 1


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """`config.checkpoint`: how many checkpoints stay. The rest are deleted.

    Attributes:
      keep_latest: the newest ones; at least 1. With 2 a damaged newest one costs little.
      keep_best: those with the lowest validation loss.
    """

    keep_latest: int = 2
    keep_best: int = 1


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """`config.log`: where numbers go besides the terminal and `metrics.jsonl`.

    Attributes:
      tensorboard: whether into `tensorboard/` of the work directory.
      wandb: whether to Weights & Biases (`pip install -e '.[wandb]'`).
      wandb_project: which of its projects.
    """

    tensorboard: bool = True
    wandb: bool = False
    wandb_project: str = 'transformer'


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """`config.sample`: completions printed at the end of training.

    Attributes:
      prompts: what is completed; none means no samples.
      tokens: new ones at most, for each.
      temperature: scores are divided by it; 0 takes the likeliest token.
      top_p: only the likeliest tokens up to this share of the probability.
    """

    prompts: tuple[str, ...] = ()
    tokens: int = 100
    temperature: float = 0.8
    top_p: float = 0.95


@dataclasses.dataclass(frozen=True)
class Experiment:
    """`config`.

    Attributes:
      seed: of the parameters, the data order and dropout.
      steps: optimizer updates.
      batch_size: sequences per step, over all devices and microbatches.
      accumulation: microbatches per step, one after the other; in a pipeline (`mesh.stage`) they
        follow each other through the stages.
      rounds: groups of layers that each stage of a pipeline holds; more of them leave fewer idle.
      context: T, tokens per sequence; S, tokens per source sequence, of an encoder-decoder.
      target_context: T, tokens per target sequence of an encoder-decoder; 0 means what the
        objective needs.
      learning_rate: its peak.
      log_every, eval_every, checkpoint_every: steps between; 0 means only at the end.
      skip_nonfinite: whether a step with an infinite or NaN loss or gradient is skipped and
        counted; otherwise it ends the run.
      dtype: of activations: 'auto' (bfloat16 on TPUs and GPUs, float32 on CPUs), 'float32' or
        'bfloat16'. Parameters and optimizer state are float32.
      remat: what the backward pass recomputes, from nothing to everything, `stack.REMAT`: 'none',
        'dots' (keeps matrix products), 'minimal' (keeps what each branch of a block returns),
        'full' (keeps what each repeat of the pattern reads); 'offload' keeps what 'minimal' keeps,
        but in the host's memory.
      loss_chunk: tokens that a device scores at a time for the loss, so that it need not hold the
        scores of all; 0 means as many as is sensible, `losses.way`.
      unroll: layers per step of the scan over depth; 0 means all on a CPU and 1 elsewhere.
      compilation_cache: directory of compiled programs; 'auto' is one below the user's cache
        directory, '' means none.
      init: what training starts from: a Hugging Face directory or hub id, or another work
        directory; '' means random numbers. Its model and its tokenizer become this run's.
    """

    seed: int = 0
    steps: int = 1000
    batch_size: int = 16
    accumulation: int = 1
    rounds: int = 1
    context: int = 256
    target_context: int = 0
    learning_rate: float = 1e-3
    log_every: int = 10
    eval_every: int = 200
    checkpoint_every: int = 200
    skip_nonfinite: bool = False
    dtype: str = 'auto'
    remat: str = 'none'
    loss_chunk: int = 0
    unroll: int = 0
    compilation_cache: str = 'auto'
    init: str = ''
    model: Any = None
    objective: Any = None
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    sample: SampleConfig = SampleConfig()

    def __post_init__(self):
        d, o = self.data, self.optimizer
        for name in ('steps', 'batch_size', 'accumulation', 'context', 'rounds'):
            _require(name, getattr(self, name), getattr(self, name) > 0, 'a whole number above 0')
        for name in (
            'seed',
            'target_context',
            'log_every',
            'eval_every',
            'checkpoint_every',
            'loss_chunk',
            'unroll',
        ):
            value = getattr(self, name)
            _require(name, value, 0 <= value < 2**31, 'a whole number from 0 to 2147483647')
        rate = self.learning_rate
        _require('learning_rate', rate, rate >= 0 and math.isfinite(rate), 'a number of at least 0')
        dtypes = ('auto', 'float32', 'bfloat16')
        _require('dtype', self.dtype, self.dtype in dtypes, f'one of {", ".join(dtypes)}')
        holds = d.tokenizer != 'init' or bool(self.init)
        _require('data.tokenizer', d.tokenizer, holds, 'another, unless there is a config.init')
        for name in ('warmup', 'final', 'b1', 'b2'):
            value = getattr(o, name)
            _require(f'optimizer.{name}', value, 0 <= value <= 1, 'a number from 0 to 1')
        for name in ('weight_decay', 'clip', 'eps'):
            value = getattr(o, name)
            _require(f'optimizer.{name}', value, value >= 0, 'a number of at least 0')
        c = self.checkpoint
        _require('checkpoint.keep_latest', c.keep_latest, c.keep_latest > 0, 'at least 1')
        _require('checkpoint.keep_best', c.keep_best, c.keep_best >= 0, 'at least 0')
        kind, family = self.objective.kind, self.model.family
        fits = [o.kind for o in KINDS.values() if self.model.fits(o)]
        accepted = f'for config.model.family={family!r} one of {", ".join(fits)}'
        _require('objective.kind', kind, kind in fits, accepted)
        d.refuse_unread(self.objective.RECORDS)
        for name, source in d.mixture.items():
            self._check_source(f'data.mixture.{name}.objective', source.objective)
        holds = self.objective.SHAPE == 'encoder_decoder' or not self.target_context
        _require(
            'target_context', self.target_context, holds, f'0 for config.model.family={family!r}'
        )
        per_step = self.batch_size % self.accumulation == 0
        accepted = f'a divisor of config.batch_size={self.batch_size}'
        _require('accumulation', self.accumulation, per_step, accepted)
        fits = not self.loss_chunk or self.objective.HEAD in ('tokens', 'masked')
        accepted = f'0 for config.objective.kind={kind!r}, which scores no tokens'
        _require('loss_chunk', self.loss_chunk, fits, accepted)
        s = self.sample
        _require('sample.tokens', s.tokens, s.tokens > 0, 'a whole number above 0')
        _require('sample.temperature', s.temperature, s.temperature >= 0, 'at least 0')
        _require('sample.top_p', s.top_p, 0 < s.top_p <= 1, 'above 0, at most 1')

    def _check_source(self, field: str, kind: str) -> None:
        """Whether a source of the mixture may be read for another objective than the rest."""
        if kind in ('', self.objective.kind):
            return
        fits = [o.kind for o in OBJECTIVES.values() if mix(o(), self.objective)]
        _require(field, kind, kind in fits, f"'' or one of {', '.join(fits)}")
        same = self.objective.SHAPE != 'encoder_decoder' or self.target_context > 0
        accepted = f'a number above 0: rows of {kind} and {self.objective.kind} are then as long'
        _require('target_context', self.target_context, same, accepted)

    @property
    def length(self) -> int:
        """Tokens of a row that `mesh.context` must divide; 0 for images, whose patches are filled
        up."""
        return 0 if self.objective.RECORDS == 'images' else self.context

    @classmethod
    def from_config(cls, config: ml_collections.ConfigDict) -> 'Experiment':
        """The frozen form of a ConfigDict.

        Raises:
          ConfigError: a field holds what it cannot, or is not known (a config of another version).
        """
        from transformer.models import FAMILIES

        values = {}
        kinds = {field.name: field.type for field in dataclasses.fields(cls)}
        for group, name, table in (
            ('model', 'family', FAMILIES),
            ('objective', 'kind', KINDS),
        ):
            chosen = config.get(group, {}).get(name)
            if chosen not in table:
                raise ConfigError(f'{group}.{name}', chosen, f'one of {", ".join(table)}')
            kinds[group] = table[chosen]
        for name, value in config.items():
            kind = kinds.get(name)
            if dataclasses.is_dataclass(kind):
                value = value.to_dict()
                _no_strangers(value, [f.name for f in dataclasses.fields(kind)], f'{name}.')
                value = kind(**{k: _freeze(v) for k, v in value.items()})
            values[name] = value
        _no_strangers(values, list(kinds), '')
        return cls(**values)


def _require(field: str, value: Any, holds: bool, accepted: str) -> None:
    if not holds:
        raise ConfigError(field, value, accepted)


def _no_strangers(values: dict, known: list[str], prefix: str) -> None:
    for name, value in values.items():
        if name not in known:
            raise ConfigError(prefix + name, value, f'no such field; known: {", ".join(known)}')


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def default_config(family: str = 'decoder', objective: str = '') -> ml_collections.ConfigDict:
    """Every field with its default, as a ConfigDict that refuses unknown names.

    Args:
      family: a key of `models.FAMILIES`.
      objective: a key of `KINDS`; '' means the first that fits the family.
    """
    from transformer.models import FAMILIES

    kind = objective or next(o.kind for o in KINDS.values() if family == o.SHAPE)
    experiment = Experiment(model=FAMILIES[family](), objective=KINDS[kind]())
    return ml_collections.ConfigDict(dataclasses.asdict(experiment))
