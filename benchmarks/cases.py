"""The models that are trained and decoded here, by name.

A peer has the shape that our own export to Hugging Face's form writes down, so that a change by
`--config.FIELD=VALUE` holds for both sides, and one that no peer has is refused.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections

from transformer import cli
from transformer.errors import UserError
from transformer.experiment import Experiment, default_config
from transformer.models.bert import BERT
from transformer.models.encoder_decoder import EncoderDecoderOptions
from transformer.models.gpt import GPT2
from transformer.models.options import StackOptions
from transformer.models.t5 import T5
from transformer.models.vit import OPTIONS as VIT


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, and what a step of its training reads.

    Attributes:
      options: `config.model`.
      objective: a key of `objectives.OBJECTIVES`.
      batch: rows.
      context: tokens of a row.
      target: tokens of a row of an encoder-decoder's targets.
      vocab, classes: tokens, or classes of images.
      large: whether it is for accelerators.
      decodes: whether `benchmarks.decode` runs it, too.
    """

    options: StackOptions
    objective: str
    batch: int
    context: int
    vocab: int = 0
    target: int = 0
    classes: int = 0
    large: bool = False
    decodes: bool = False


def _of(options: StackOptions, **changes: Any) -> StackOptions:
    return dataclasses.replace(options, **{'dropout': 0.0} | changes)


_SHAKESPEARE = Case(
    _of(GPT2, width=384, depth=6, heads=6, mlp='gelu'),
    'next_token',
    64,
    256,
    vocab=65,
    decodes=True,
)
_LLAMA = {
    'mlp': 'swiglu',
    'norm': 'rmsnorm',
    'norm_eps': 1e-5,
    'positions': 'rope',
    'bias': False,
    'tied': False,
}
CASES = {
    # nanoGPT's shakespeare-char, the size for one GPU: https://github.com/karpathy/nanoGPT
    'shakespeare': _SHAKESPEARE,
    'shakespeare_dropout': dataclasses.replace(
        _SHAKESPEARE, options=_of(_SHAKESPEARE.options, dropout=0.2), decodes=False
    ),
    # https://arxiv.org/abs/1908.08962
    'bert_mini': Case(_of(BERT, width=256, depth=4, heads=4), 'masked', 32, 128, vocab=30_522),
    # https://arxiv.org/abs/2109.10686
    't5_mini': Case(
        _of(T5, width=384, depth=4, heads=8, hidden=1536),
        'span_corruption',
        16,
        256,
        vocab=32_128,
        target=64,
    ),
    # https://arxiv.org/abs/2012.12877
    'vit_ti': Case(
        _of(VIT, width=192, depth=12, heads=3), 'image_classification', 8, 196, classes=1000
    ),
    'gpt2': Case(
        _of(GPT2, width=768, depth=12, heads=12),
        'next_token',
        16,
        1024,
        vocab=50_257,
        large=True,
        decodes=True,
    ),
    'llama_1b': Case(
        _of(GPT2, width=2048, depth=24, heads=16, hidden=5504, **_LLAMA),
        'next_token',
        4,
        2048,
        vocab=32_000,
        large=True,
        decodes=True,
    ),
    # Seconds, for trying the benchmarks out.
    'tiny': Case(_of(GPT2, width=32, depth=2, heads=2), 'next_token', 2, 32, 67, decodes=True),
}


# Fields of a config that a benchmark of the model, of its step, of decoding with it may change.
MODEL = ('model', 'context', 'seed')
DECODING = (*MODEL, 'dtype', 'unroll', 'compilation_cache')
SHAPE = ('batch_size', 'accumulation', 'target_context')
RATES = ('learning_rate', *(f'optimizer.{n}' for n in ('b1', 'b2', 'eps', 'weight_decay', 'clip')))
HOW = ('optimizer.offload', 'remat', 'loss_chunk', 'skip_nonfinite')
TRAINING = (*DECODING, *SHAPE, *RATES, *HOW)
SAVING = (*MODEL, 'target_context')


def names(given: str, default: list[str], known: list[str]) -> list[str]:
    """The models that `--model` names; '' means `default`.

    Raises:
      UserError: one that is not known.
    """
    chosen = given.split(',') if given else default
    for name in chosen:
        if name not in known:
            raise UserError(f'--model={given}: {name!r} is not known; known: {", ".join(known)}')
    return chosen


def check(names: Iterable[str], overrides: Mapping[str, str], read: Sequence[str]) -> None:
    """Raises a `UserError` where an override is wrong, before anything is measured.

    Args:
      read: the fields, or groups of fields, that the benchmark reads: nothing else is accepted.
    """
    for field in overrides:
        if field not in read and field.split('.')[0] not in read:
            accepted = ', '.join(f'--config.{name}' for name in read)
            raise UserError(f'--config.{field}: nothing here reads it; accepted: {accepted}')
    for name in names:
        experiment(name, overrides)


def experiment(name: str, overrides: Mapping[str, str]) -> Experiment:
    """The experiment of a case, with a constant learning rate.

    Args:
      overrides: `--config.FIELD=VALUE`, by field.

    Raises:
      UserError: a field that is unknown, or a value that it cannot have.
    """
    case = CASES[name]
    config = default_config(case.options.family, case.objective)
    config.model = ml_collections.ConfigDict(dataclasses.asdict(case.options))
    config.batch_size, config.context = case.batch, case.context
    if isinstance(case.options, EncoderDecoderOptions):
        config.target_context = case.target
    config.learning_rate = 3e-4
    config.optimizer.warmup, config.optimizer.final = 0.0, 1.0
    cli.override(config, dict(overrides))
    return Experiment.from_config(config)
