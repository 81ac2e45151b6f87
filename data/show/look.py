"""Everything that is shown of a split, before it is drawn on a terminal or a page."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from data import feed as feeds
from data import made_up
from data.load import Loaded
from data.rows import Row
from data.show import counts
from data.show.spelled import Example, Run, Speller
from transformer.errors import UserError

MEASURED = 1000  # rows that are made to be counted
CLASSES = 20  # the most frequent, that are told
SIDES = {'tokens': 'documents', 'source': 'sources', 'target': 'targets'}  # by column


@dataclasses.dataclass(frozen=True)
class Look:
    """What is to be shown.

    Attributes:
      name: where the data come from.
      split: which part of them.
      objective: its kind.
      size: the number of rows, as a phrase.
      rows: the number of rows in a pass.
      step: the step that the first example is of; None where nothing is trained on.
      examples: rows, spelt out.
      filled: counts over `filled.rows` rows.
      lengths: of documents or of both sides, by name.
      sources: numbers of each source by name; a single source is called ''.
      skipped: how many records were left out, by reason.
    """

    name: str
    split: str
    objective: str
    size: str
    rows: int
    step: int | None
    examples: tuple[Example, ...]
    filled: counts.Filled
    lengths: dict[str, counts.Lengths]
    sources: dict[str, dict[str, float]]
    skipped: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """As `json.dumps` takes it; images are left out, but for their shape."""
        made = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        made['examples'] = [_example(example) for example in self.examples]
        made['filled'] = {
            'rows': self.filled.rows,
            'efficiency': self.filled.efficiency,
            'trained': self.filled.trained,
            'trained_share': self.filled.trained_share,
            'labels': self.filled.labels,
            'sources': {
                name: dict(zip(('rows', 'tokens', 'trained'), each))
                for name, each in self.filled.by_source.items()
            },
        }
        made['lengths'] = {k: dataclasses.asdict(v) for k, v in self.lengths.items()}
        return made


def _example(example: Example) -> dict[str, Any]:
    made = dataclasses.asdict(dataclasses.replace(example, image=None))
    made['image'] = None if example.image is None else list(example.image.shape)
    return made


def look(loaded: Loaded, experiment: Any, split: str, n: int, step: int | None) -> Look:
    """The first `n` rows of a split, or of a training step, and the numbers of all.

    Args:
      split: 'train', 'validation' or 'test'.
      step: from 1; None for the splits that are not trained on.

    Raises:
      UserError: there is no such split, or training has ended before that step.
    """
    feed, objective = loaded.feed, experiment.objective
    found = getattr(feed, split)
    if found is None:
        known = ', '.join(s for s in feeds.SPLITS if getattr(feed, s) is not None)
        more = '; config.data.test_split names one' if split == 'test' else ''
        raise UserError(f'--split={split}: {feed.name} has no such split; accepted: {known}{more}')
    training = split == 'train'
    begin = (step - 1) * experiment.batch_size if training else 0
    total = feed.order.total if training else len(found.rows)
    if total is not None and begin >= total:
        most = -(-total // experiment.batch_size)
        raise UserError(f'--step={step}: the sources have had their epochs; accepted: 1 to {most}')
    stream = feeds.train_rows(feed) if training else _Evaluated(found.rows)
    end = begin + n if total is None else min(begin + n, total)
    spelling = loaded.tokenizer
    if objective.RECORDS == 'none':
        spelling = made_up.Spelling(objective.pieces)
    spell = Speller(objective, spelling, feed.classes, feed.sources)
    shown = tuple(spell(i, stream[i]) for i in range(begin, end))
    rows = found.rows.drawn if training else len(found.rows)
    measured = min(MEASURED, rows if total is None else min(rows, total))
    made = (stream[i] for i in range(measured))
    encoded = {name: each[split] for name, each in (loaded.examples or {}).items() if split in each}
    counted = list(encoded.values())
    skipped: dict[str, int] = {}
    for reason, count in itertools.chain(*(each.skipped.items() for each in counted)):
        skipped[reason] = skipped.get(reason, 0) + count
    return Look(
        name=feed.name,
        split=split,
        objective=objective.kind,
        size=found.rows.size(),
        rows=rows,
        step=step if training else None,
        examples=shown,
        filled=counts.filled(made, feed.sources, feed.classes, objective.HEAD),
        lengths={SIDES[k]: v for k, v in counts.lengths(counted).items()},
        sources=counts.of_sources(loaded, encoded, experiment, split),
        skipped=skipped,
    )


class _Evaluated:
    """The rows of a pass for evaluation, as those of training can be had."""

    def __init__(self, rows: Any):
        self._rows = rows

    def __getitem__(self, index: int) -> Row:
        return self._rows.at(index)


def numbers(look: Look) -> Iterator[tuple[str, str]]:
    """(name, phrase) of what is told in a line each."""
    filled = look.filled
    yield 'rows', f'{look.rows:,} {"an epoch" if look.split == "train" else "a pass"}; {look.size}'
    for reason, count in look.skipped.items():
        yield 'left out', f'{count:,}: {reason}'
    shares = filled.efficiency
    of = 'all rows' if filled.rows == look.rows else f'the first {filled.rows:,} rows'
    if shares:
        each = ', '.join(
            f'{share:.2%}' if name == 'text' else f'{name} {share:.2%}'
            for name, share in shares.items()
        )
        yield 'packing', f'{each} of the places of {of} hold a token, the rest is padding'
    if filled.trained_share is not None:
        yield 'trained on', f'{filled.trained_share:.2%} of the tokens of {of}'
    total = sum(filled.labels.values())
    common = sorted(filled.labels, key=filled.labels.get, reverse=True)[:CLASSES]
    for name in common:
        count = filled.labels[name]
        yield 'class', f'{name}: {count:,} ({count / max(1, total):.1%}) of {of}'
    if len(filled.labels) > CLASSES:
        yield 'class', f'and {len(filled.labels) - CLASSES:,} rarer ones'


def source_lines(look: Look) -> Iterator[tuple[str, ...]]:
    """A table of the sources, its head first."""
    first = next(iter(look.sources.values()))
    yield ('source', *(name.replace('_', ' ') for name in first))
    for name, values in look.sources.items():
        yield (name or 'all', *(_cell(k, v) for k, v in values.items()))


def _cell(name: str, value: float) -> str:
    if name.startswith('share'):
        return f'{value:.3%}'
    return f'{value:,.2f}' if isinstance(value, float) else f'{value:,}'


def legend(look: Look) -> Iterator[tuple[str, Run]]:
    """What the ways of writing tokens stand for, of those that are used."""
    runs = [
        run for e in look.examples for side in e.sides for runs in side.segments for run in runs
    ]
    ways = {
        'learnt': (Run('word', trained=True), lambda r: r.trained and not r.wanted and not r.label),
        'seen, and what is learnt there': (
            Run('[MASK]', trained=True, special=True, wanted='word'),
            lambda r: r.wanted,
        ),
        'learnt: its tag': (Run('word', trained=True, label='TAG'), lambda r: r.label),
        'read in both directions': (Run('word', prefix=True), lambda r: r.prefix),
        'special token': (Run('[TOKEN]', special=True), lambda r: r.special),
    }
    for what, (example, fits) in ways.items():
        if any(map(fits, runs)):
            yield what, example


def bars(lengths: counts.Lengths, width: int) -> Iterator[tuple[str, int, int]]:
    """(range of lengths, length of the bar, how many) of a histogram."""
    most = max(count for _, _, count in lengths.bars)
    for low, high, count in lengths.bars:
        name = f'{low:,}' if low == high else f'{low:,} to {high:,}'
        yield name, -(-count * width // most), count


def summary(lengths: counts.Lengths) -> str:
    """A phrase."""
    of = '' if lengths.counted == lengths.documents else f', of which {lengths.counted:,} measured'
    return (
        f'{lengths.documents:,}{of}: {lengths.least:,} to {lengths.most:,} tokens, '
        f'median {lengths.median:,.0f}, mean {lengths.mean:,.1f}'
    )
