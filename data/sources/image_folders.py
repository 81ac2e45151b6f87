"""Images in folders: one folder a class, below one for each split or not."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.sources import pixels
from data.sources.corpus import Corpus
from data.sources.find import counts
from data.sources.labels import two
from data.sources.options import refuse_unread
from data.sources.origin import local_file
from data.sources.records import at
from data.sources.splits import stratified
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

Found = list[tuple[Path, str]]  # an image, and its class


def has_images(path: Path) -> bool:
    return any(p.suffix.lower() in pixels.SUFFIXES for p in path.rglob('*'))


def load(config: SourceConfig, path: Path) -> Corpus:
    """PATH/CLASS/NAME.png, or PATH/SPLIT/CLASS/NAME.png; files of other kinds are left out.

    The images have three channels if one has, or else one. A share is held out where there is no
    folder to validate on.

    Raises:
      ConfigError: no such split; a share that leaves a split empty.
      UserError: no classes; an image of another size than the first.
    """
    folders = {
        split: path / getattr(config, f'{split}_split')
        for split in ('train', 'validation', 'test')
        if getattr(config, f'{split}_split')
    }
    if not folders.get('train', path / ' ').is_dir():
        refuse_unread(config, 'images', 'folders of images', False)
        parts = {'train': _images(path)}
    else:
        usual = config.validation_split == SourceConfig.validation_split
        others = {p.name for p in path.iterdir() if p.is_dir() and counts(Path(p.name))}
        for split, folder in folders.items():
            known = others - {getattr(config, f'{s}_split') for s in folders}
            if not folder.is_dir() and (split != 'validation' or known or not usual):
                accepted = f'folders of {path}: {", ".join(sorted(others))}'
                raise ConfigError(f'data.{split}_split', folder.name, accepted)
        parts = {s: _images(folder) for s, folder in folders.items() if folder.is_dir()}
        refuse_unread(config, 'images', 'folders of images by split', 'validation' in parts)
    names = two(tuple(sorted({name for _, name in parts['train']})), str(path))
    grey = _one_size([image for found in parts.values() for image, _ in found])
    splits = {split: Folder(found, names, grey) for split, found in parts.items()}
    if 'validation' not in splits:
        found, numbers = parts['train'], splits['train'].numbers
        sides = stratified(numbers, config, str(path))
        splits['train'], splits['validation'] = (
            Folder([found[n] for n in side], names, grey) for side in sides
        )
    origin = tuple(local_file(image) for found in parts.values() for image, _ in found)
    return Corpus(str(path), **splits, classes=names, origin=origin)


def _images(folder: Path) -> Found:
    found = []
    for of_class in sorted(p for p in folder.iterdir() if p.is_dir() and counts(Path(p.name))):
        paths = sorted(p for p in of_class.rglob('*') if p.suffix.lower() in pixels.SUFFIXES)
        found += [(p, of_class.name) for p in paths if counts(p.relative_to(of_class))]
    if not found:
        raise UserError(f'{folder} has no folder of images for each class')
    return found


def _one_size(paths: Sequence[Path]) -> bool:
    """Whether all are grey. Reads the beginning of each file."""
    facts = map(pixels.facts, paths)
    size, grey = next(facts)
    for path, (other, also) in zip(itertools.islice(paths, 1, None), facts):
        if other != size:
            raise UserError(
                f'{path} has {other[0]} x {other[1]} pixels, {paths[0]} has {size[0]} x {size[1]}; '
                'all images must have one size'
            )
        grey = grey and also
    return grey


class Folder(Sequence):
    """Images, read on demand.

    Attributes:
      numbers: of their classes, int64 [N].
    """

    def __init__(self, found: Found, names: tuple[str, ...], grey: bool):
        self._paths, self._grey = [path for path, _ in found], grey
        index = {name: n for n, name in enumerate(names)}
        for path, name in found:
            if name not in index:
                known = ', '.join(names)
                raise UserError(f'{path}: {name!r} is not a class of the training split: {known}')
        self.numbers = np.array([index[name] for _, name in found], np.int64)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        path = self._paths[at(index, len(self))]
        return pixels.decode(path, str(path), self._grey), int(self.numbers[index])
