"""The class of an image. Brightness from 0 to 1 becomes (x - 0.5) / 0.5, from -1 to 1."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.rows import Row, Rows, Split
from transformer.errors import ConfigError, UserError

MEAN, STD = 0.5, 0.5
HASHED = 10_000  # images: reading a large data set whole would take minutes


class ImageRows(Rows):
    """`images` (float32) [H, W, C]; `targets` (int32) and `weights` (float32) scalars."""

    def __init__(self, records: Sequence[tuple[np.ndarray, int]]):
        self._records = records
        self._shape = records[0][0].shape if len(records) else ()

    def __len__(self) -> int:
        return len(self._records)

    def at(self, place: int) -> Row:
        image, label = self._records[place]
        if image.shape != self._shape:
            raise UserError(f'image {place} has shape {image.shape}, the first has {self._shape}')
        return {
            'images': ((image - MEAN) / STD).astype(np.float32),
            'targets': np.int32(label),
            'weights': np.float32(1),
        }

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        return self.at(place)

    def digest(self) -> str:
        """Of at most `HASHED` images at equal distances, and of how many there are."""
        made = hashlib.blake2b(str(len(self)).encode(), digest_size=16)
        for place in range(0, len(self), -(-len(self) // HASHED)):
            image, label = self._records[place]
            made.update(image.tobytes() + str(label).encode())
        return made.hexdigest()

    def size(self) -> str:
        return f'{len(self):,} images of {" x ".join(map(str, self._shape))}'


def split(
    experiment: Any, records: Sequence[tuple[np.ndarray, int]], tokenizer: Any, plans: Path | None
) -> Split:
    """Images as they are.

    Raises:
      ConfigError: images of another size than the model's.
    """
    del tokenizer, plans
    m = experiment.model
    if len(records):
        height, width, channels = records[0][0].shape
        if not height == width == m.image:
            raise ConfigError(
                'model.image', m.image, f'{height} (the images are {height} x {width})'
            )
        if channels != m.channels:
            raise ConfigError('model.channels', m.channels, str(channels))
    return Split(ImageRows(records), 0, len(records))
