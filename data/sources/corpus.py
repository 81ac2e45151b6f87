"""What every source gives: records by split."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from data.sources.documents import pieces_of
from data.sources.origin import SourceFile

SPLITS = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Records by split: strings; (source, target) strings; (text, class); (words, tags); images;
    conversations, lists of messages {'role', 'content'}.

    Attributes:
      name: a phrase that says where they come from.
      test: None where there is no such split.
      classes: names of the classes or tags, by index.
      skipped: how many records were left out, by reason; complete once all splits have a length.
      origin: the files that the records come from, as they were when they were found.
    """

    name: str
    train: Sequence[Any]
    validation: Sequence[Any]
    test: Sequence[Any] | None = None
    classes: tuple[str, ...] = ()
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    origin: tuple[SourceFile, ...] = ()

    def files(self) -> list[SourceFile]:
        """The files that the records come from, as they are now.

        Raises:
          UserError: one is gone.
        """
        return [file.again() for file in self.origin]

    def texts(self, split: str = 'train') -> Iterator[str]:
        """Every string of a split, both sides of pairs too; of images there are none.

        Documents that need not fit in memory come in pieces.
        """
        records = getattr(self, split)
        if records is None:
            return
        if hasattr(records, 'blocks'):
            yield from (text for text, _ in pieces_of(records))
            return
        for record in records:
            yield from _strings(record)

    def validation_text(self) -> bytes:
        """The whole validation text, documents end to end, as UTF-8."""
        return ''.join(self.texts('validation')).encode()


def _strings(record: Any) -> Iterable[str]:
    if isinstance(record, dict):  # a conversation with tools
        record = record['messages']
    for part in (record,) if isinstance(record, str) else record:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            if isinstance(part.get('content'), str):
                yield part['content']
        elif isinstance(part, tuple) and all(isinstance(word, str) for word in part):
            yield ' '.join(part)
