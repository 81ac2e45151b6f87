"""Images out of files: PNG, JPEG and what else Pillow reads."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from transformer.errors import UserError

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.tif', '.tiff', '.webp')
GREY = ('1', 'L', 'LA', 'I', 'I;16', 'I;16B', 'I;16L', 'F')
# What Pillow raises for a file that is damaged, no image, or suspiciously large.
DAMAGED = (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError)


def facts(path: Path) -> tuple[tuple[int, int], bool]:
    """Height and width, and whether the image is grey, from the beginning of its file.

    Raises:
      UserError: it is no image.
    """
    try:
        with PIL.Image.open(path) as image:
            return (image.height, image.width), image.mode in GREY
    except DAMAGED as error:
        raise UserError(f'{path} is no image that can be read: {error}') from None


def decode(
    value: Any, name: str, grey: bool | None = None, folder: Path | None = None
) -> np.ndarray:
    """float32 [H, W, C], from 0 to 1.

    Args:
      value: a `Path`, or what a record has: the bytes of a file, an image of Pillow, a string with
        the path of a file, or a dict with 'bytes' or 'path'.
      name: what messages call it.
      grey: whether C is 1 or 3; None: as the image is.
      folder: below which files that records name must lie; None: nowhere.

    Raises:
      UserError: it is no image, or not a whole one; a path that leads out of the folder.
    """
    if isinstance(value, dict):
        value = value.get('bytes') or value.get('path')
    if isinstance(value, str):
        value = _below(folder, value, name)
    try:
        if isinstance(value, PIL.Image.Image):
            return _array(value, grey)
        file = io.BytesIO(value) if isinstance(value, bytes) else Path(value)
        with PIL.Image.open(file) as image:
            return _array(image, grey)
    except (*DAMAGED, TypeError) as error:
        raise UserError(f'{name} is no whole image: {error}') from None


def _below(folder: Path | None, path: str, name: str) -> Path:
    """The file that a record names: it may come from a stranger."""
    if folder is None:
        raise UserError(f'{name}: the image is no bytes but a path, {path!r}')
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise UserError(f'{name}: the image {path!r} is not below {folder}')
    return found


def _array(image: PIL.Image.Image, grey: bool | None) -> np.ndarray:
    grey = image.mode in GREY if grey is None else grey
    if image.mode.startswith('I'):  # 16 bits
        levels = np.asarray(image, np.float32)[..., None] / 65535
        return levels if grey else np.repeat(levels, 3, axis=2)
    levels = np.asarray(image.convert('L' if grey else 'RGB'), np.float32) / 255
    return levels[..., None] if grey else levels
