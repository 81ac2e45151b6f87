"""What every source gives: records by split."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Records by split: strings; (source, target) strings; (text, class); (words, tags); images.

    Attributes:
      name: a phrase that says where they come from.
      test: None where there is no such split.
      classes: names of the classes or tags, by index.
    """

    name: str
    train: Sequence[Any]
    validation: Sequence[Any]
    test: Sequence[Any] | None = None
    classes: tuple[str, ...] = ()

    def texts(self, split: str = 'train') -> Iterator[str]:
        """Every string of a split, both sides of pairs too; of images there are none."""
        for record in getattr(self, split) or ():
            for part in (record,) if isinstance(record, str) else record:
                if isinstance(part, str):
                    yield part
                elif isinstance(part, tuple) and all(isinstance(word, str) for word in part):
                    yield ' '.join(part)

    def validation_text(self) -> bytes:
        """The whole validation text, documents end to end, as UTF-8."""
        return ''.join(self.texts('validation')).encode()
