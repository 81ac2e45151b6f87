"""What an objective wants of the records of a table, and a split of them by index."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data.sources import splits
from data.sources.tables import Bad, Table
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError


class Records(Sequence):
    """Records of a table as an objective wants them, read on demand.

    Args:
      table: where they come from.
      pick: from a record of the table to what is wanted; raises `Bad`.
      config: `bad_records` says what becomes of bad ones: an error that says where, or they are
        left out, which takes a pass over the table before the first record is read.
      skipped: where those left out are counted, by reason.
    """

    def __init__(
        self,
        table: Table,
        pick: Callable[[Any], Any],
        config: SourceConfig,
        skipped: dict[str, int],
    ):
        self.table, self._pick = table, pick
        self._skip, self._skipped = config.bad_records == 'skip', skipped
        self._good: np.ndarray | None = None

    def good(self) -> np.ndarray | None:
        """Indices of the table's records that are not bad; None if that is not to be asked."""
        if self._skip and self._good is None:
            found = np.fromiter((self._is_good(raw) for raw in self.table.raw()), bool)
            self._good = np.flatnonzero(found)
        return self._good

    def _is_good(self, raw: Any) -> bool:
        try:
            self._pick(self.table.parse(raw))
        except Bad as bad:
            self._skipped[bad.reason] = self._skipped.get(bad.reason, 0) + 1
            return False
        return True

    def _made(self, place: int, raw: Any) -> Any:
        try:
            return self._pick(self.table.parse(raw))
        except Bad as bad:
            raise self.refusal(place, bad) from None

    def refusal(self, place: int, bad: Bad) -> UserError:
        where = self.table.where(place, bad.offset)
        return UserError(f'{where}: {bad.detail}; config.data.bad_records=skip leaves it out')

    def __len__(self) -> int:
        good = self.good()
        return len(self.table) if good is None else len(good)

    def __getitem__(self, index: int) -> Any:
        place = at(index, len(self))
        place = place if self.good() is None else int(self._good[place])
        return self._made(place, self.table.fetch(place))

    def __iter__(self) -> Iterator[Any]:
        return self.walk(None)

    def walk(self, wanted: np.ndarray | None) -> Iterator[Any]:
        """The records in order; of these, those for which `wanted` (bool [N]) holds."""
        if (good := self.good()) is not None:
            mask = np.zeros(len(self.table), bool)
            mask[good if wanted is None else good[wanted]] = True
            wanted = mask
        places = enumerate(self.table.raw())
        if wanted is not None:
            places = itertools.compress(places, memoryview(wanted.view(np.uint8)))
        return itertools.starmap(self._made, places)

    def where(self, index: int) -> str:
        """A phrase that says where a record is."""
        return self.table.where(index if self.good() is None else int(self._good[index]))


class Side(Sequence):
    """One side of records of which a share is held out, see `splits.held_out`.

    Args:
      held: whether it is the share, or the rest.
      config: for the share.
      name: what a message calls the records.
    """

    def __init__(self, records: Records, held: bool, config: SourceConfig, name: str):
        self._records, self._is_held = records, held
        self._config, self._name = config, name
        self._places: np.ndarray | None = None

    @property
    def _held(self) -> np.ndarray:
        if self._places is None:
            self._places = splits.held_out(len(self._records), self._config, self._name)
        return self._places

    def __len__(self) -> int:
        held = len(self._held)
        return held if self._is_held else len(self._records) - held

    def __getitem__(self, index: int) -> Any:
        return self._records[self._place(index)]

    def where(self, index: int) -> str:
        """As of `Records`."""
        return self._records.where(self._place(index))

    def _place(self, index: int) -> int:
        place = at(index, len(self))
        if self._is_held:
            return int(self._held[place])
        return splits.remaining(self._held, place)

    def __iter__(self) -> Iterator[Any]:
        mask = np.zeros(len(self._records), bool)
        mask[self._held] = True
        return self._records.walk(mask if self._is_held else ~mask)


def at(index: int, size: int) -> int:
    """An index from 0, also of one that counts from the end."""
    index = int(index)
    if not -size <= index < size:
        raise IndexError(index)
    return index % size


def sides(
    tables: Mapping[str, Table],
    pick: Callable[[Any], Any],
    config: SourceConfig,
    name: str,
    skipped: dict[str, int],
) -> dict[str, Sequence[Any]]:
    """Records of each split; without a table to validate on a share of the others is held out."""
    made = {s: Records(table, pick, config, skipped) for s, table in tables.items()}
    if 'validation' not in made:
        whole = made['train']
        made['train'] = Side(whole, False, config, name)
        made['validation'] = Side(whole, True, config, name)
    return made


def need(table: Table, field: str, value: str, name: str) -> None:
    """Refuses a table without the field.

    Args:
      field: of the config, such as 'data.text_field'.
      value: the field's name.

    Raises:
      ConfigError: it is not there; the message names those that are.
    """
    if table.fields is not None and value not in table.fields:
        known = ', '.join(table.fields) or 'none is in all files'
        raise ConfigError(field, value, f'fields of {name}: {known}')


def text(value: Any, field: str, errors: str) -> Any:
    """A value, decoded if it is bytes.

    Args:
      errors: `config.encoding_errors`.

    Raises:
      Bad: bytes that are not UTF-8.
    """
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode(errors=errors)
    except UnicodeDecodeError as error:
        bad = f'byte 0x{value[error.start]:02x} at offset {error.start}'
        detail = 'config.data.encoding_errors=replace puts U+FFFD for each bad byte'
        raise Bad('not UTF-8', f'the field {field!r} is not UTF-8: {bad}; {detail}') from None


def string(record: Any, field: str, errors: str = 'strict') -> str:
    """A field of a record.

    Args:
      errors: as of `text`.

    Raises:
      Bad: it is not there, or no text.
    """
    value = text(record.get(field), field, errors)
    if isinstance(value, str):
        return value
    if field in record:
        raise Bad('field that is no text', f'there is no string {field!r}: it is {value!r:.40}')
    known = ', '.join(record)
    raise Bad('field missing', f'there is no string {field!r}; the fields are {known}')
