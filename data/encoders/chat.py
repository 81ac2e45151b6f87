"""Conversations: two columns, `tokens` and `trained` (1 for each token that is learnt)."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.chat import Format
from data.columns import Piece
from data.encoders.base import Encoder, token_type
from transformer.errors import UserError
from transformer.objectives import Chat

BATCH = 256  # conversations encoded in one call

NOTHING, BAD = 'nothing to learn', 'no conversation'


class ChatEncoder(Encoder):
    """Its stream gives (place, record); what a record may hold says `data.chat.conversation`.

    Conversations of which nothing is learnt are left out.

    Args:
      objective: says which template, and whose messages are learnt.
      bad_records: 'refuse' records that are no conversation, or 'skip' and count them.

    Attributes:
      identity: all that tokens follow from, besides the tokenizer and the records.
    """

    def __init__(self, tokenizer: Any, objective: Chat, bad_records: str = 'refuse'):
        super().__init__()
        self._format, self._skip_bad = Format(tokenizer, objective), bad_records == 'skip'
        self._where: Callable[[int], str] | None = None  # where records of the stream come from
        self.identity = self._format.identity
        self.dtypes = {'tokens': token_type(tokenizer), 'trained': np.dtype(np.uint8)}

    def stream(self, records: Sequence[Any], skip: int = 0) -> Iterator[tuple[int, Any]]:
        self._where = getattr(records, 'where', None)
        return enumerate(itertools.islice(records, skip, None), skip)

    def encode(self, items: Iterable[tuple[int, Any]]) -> Iterator[Piece | None]:
        """Raises a `UserError` for a record that is no conversation, unless they are skipped."""
        items = iter(items)
        while batch := list(itertools.islice(items, BATCH)):
            written = [self._write(*item) for item in batch]
            encoded = iter(self._format.encode([one for one in written if one is not None]))
            for one in written:
                if one is None:  # counted just now: whoever stops before comes back to it
                    self.skip(BAD)
                    yield None
                else:
                    yield self._piece(one.text, *next(encoded))

    def _write(self, place: int, record: Any) -> Any:
        name = f'record {place + 1}'
        try:
            return self._format.write(record, name)
        except UserError:
            if self._skip_bad:
                return None
            # Only now: to find a record's line takes a pass over its file.
            return self._format.write(record, self._where(place) if self._where else name)

    def _piece(self, text: str, tokens: np.ndarray, trained: np.ndarray) -> Piece | None:
        if not trained[1:].any():  # nothing comes before the first token
            self.skip(NOTHING)
            return None
        trained = np.concatenate([[0], trained[1:]])
        arrays = {'tokens': tokens, 'trained': trained}
        arrays = {name: array.astype(self.dtypes[name]) for name, array in arrays.items()}
        return Piece(arrays, len(text.encode('utf-8', 'surrogatepass')))
