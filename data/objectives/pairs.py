"""Rows with two sides, several (source, target) pairs a row: what encoder-decoders read.

Segment ids are the same on both sides, so that pairs never see one another; positions restart.
`decoder_inputs` is the target shifted right; it begins with the tokenizer's `start`, which is the
end marker where a tokenizer has no other.
"""

import abc
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data.bins import pack
from data.rows import Row, Rows, at_key, draw_key
from transformer.errors import ConfigError

HASHED = 1 << 16  # rows


def end_marker(experiment: Any, tokenizer: Any) -> int:
    """The tokenizer's end marker.

    Raises:
      ConfigError: it has none.
    """
    if tokenizer.end is None:
        accepted = "'bpe' or 'bytes': this objective needs an end marker"
        raise ConfigError('data.tokenizer', experiment.data.tokenizer, accepted)
    return tokenizer.end


def assemble(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], source: int, target: int, start: int
) -> Row:
    """One row of `source` (S) and `target` (T) tokens.

    Args:
      pairs: token ids; they fit.
      start: the token before the first target of each pair.

    Returns:
      `inputs`, `positions`, `segment_ids` [S], `decoder_inputs`, `decoder_positions`,
      `decoder_segment_ids`, `targets` (int32) and `weights` (float32) [T].
    """
    row = {k: np.zeros(source, np.int32) for k in ('inputs', 'positions', 'segment_ids')}
    decoder = ('decoder_inputs', 'decoder_positions', 'decoder_segment_ids', 'targets')
    row |= {k: np.zeros(target, np.int32) for k in decoder}
    row['weights'] = np.zeros(target, np.float32)
    s = t = 0
    for segment, (given, wanted) in enumerate(pairs, 1):
        part = slice(s, s + len(given))
        row['inputs'][part] = given
        row['positions'][part] = np.arange(len(given))
        row['segment_ids'][part] = segment
        part = slice(t, t + len(wanted))
        row['decoder_inputs'][part] = np.concatenate([[start], wanted[:-1]])
        row['decoder_positions'][part] = np.arange(len(wanted))
        row['decoder_segment_ids'][part] = segment
        row['targets'][part] = wanted
        row['weights'][part] = 1
        s, t = s + len(given), t + len(wanted)
    return row


def plan_pairs(
    experiment: Any, sizes: np.ndarray, lengths: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Which pairs share a row, settled once.

    Args:
      sizes: [N, 2], lengths of both sides of each pair.
      lengths: S and T.

    Returns:
      `items`, the pairs row by row; `rows` [R + 1], where each row begins among them; `tokens` [2],
      of each side in all.
    """
    how, seed = experiment.data.packing, experiment.seed
    how = 'first_fit' if how == 'concat' else how  # pairs are never cut
    order = np.random.default_rng(seed).permutation(len(sizes))
    bins = pack(sizes, lengths, how, order)
    return {'items': bins.items, 'rows': bins.starts, 'tokens': sizes.sum(0)}


class PackedPairs(Rows):
    """Pairs put together in rows once; the order of the rows is drawn each epoch.

    Args:
      plan: as of `plan_pairs`.
      source, target: S and T.
      start: as of `assemble`.
    """

    NEEDS = 'one pair'

    def __init__(self, plan: Mapping[str, np.ndarray], source: int, target: int, start: int):
        self._plan = plan
        self._source, self._target, self._start = source, target, start

    def members(self, begin: int, end: int) -> Iterable[int]:
        """The pairs at these places of the plan, for `pair`."""
        return self._plan['items'][begin:end].tolist()

    @abc.abstractmethod
    def pair(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Both sides of a pair."""

    @abc.abstractmethod
    def content(self) -> str:
        """Digest of all pairs."""

    def __len__(self) -> int:
        return len(self._plan['rows']) - 1

    def at(self, place: int) -> Row:
        return self._row(place, at_key(place))

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        return self._row(place, draw_key(place, epoch, seed))

    def _row(self, place: int, key: tuple[int, ...]) -> Row:
        rng = np.random.default_rng(key)
        begin, end = map(int, self._plan['rows'][place : place + 2])
        pairs = [self.pair(index, rng) for index in self.members(begin, end)]
        return assemble(pairs, self._source, self._target, self._start)

    @property
    def targets(self) -> int:
        """Tokens that are predicted in a pass."""
        return int(self._plan['tokens'][1])

    def digest(self) -> str:
        made = hashlib.blake2b(self.content().encode(), digest_size=16)
        made.update(repr((self._source, self._target, len(self))).encode())
        # The plan follows from what else is in here; its beginning tells of another algorithm.
        made.update(np.ascontiguousarray(self._plan['rows'][:HASHED]))
        return made.hexdigest()

    def size(self) -> str:
        if not len(self):
            return '0 pairs'
        tokens = self._plan['tokens']
        filled = tokens / (len(self) * np.array([self._source, self._target]))
        return (
            f'{self._plan["rows"][-1]:,} pairs, {tokens.sum():,} tokens in {len(self):,} rows '
            f'of {self._source} and {self._target}, filled {filled[0]:.1%} and {filled[1]:.1%}'
        )
