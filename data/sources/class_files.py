"""Texts with a class each out of a folder or a `.zip` with one file a class, one text a line."""

import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from data.sources.decode import decode, options
from data.sources.files import lines, read_text
from data.sources.find import counts
from data.sources.options import refuse_unread
from data.sources.origin import SourceFile, local_file
from data.sources.unpack import bare
from transformer.data_config import SourceConfig
from transformer.errors import UserError

Labelled = list[tuple[str, str]]  # text, label


def read(
    config: SourceConfig, path: Path, records: str = 'classes'
) -> tuple[Labelled, tuple[SourceFile, ...]]:
    """The texts with the names of their classes, and the files.

    Args:
      records: what they become, 'classes' or 'pairs'.

    Raises:
      UserError: what cannot be read; two files of one class.
    """
    way = 'a file a class, as pairs' if records == 'pairs' else 'a file a class'
    refuse_unread(config, records, way, False)
    if path.is_file():
        return _one_file_a_class(_zipped(path, config)), (local_file(path),)
    paths = sorted(p for p in path.rglob('*') if p.is_file() and counts(p.relative_to(path)))
    texts = {str(p): read_text(p, *options(config)) for p in paths}
    return _one_file_a_class(texts), tuple(local_file(p) for p in paths)


def _zipped(path: Path, config: SourceConfig) -> dict[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(
                entry.filename
                for entry in archive.infolist()
                if not entry.is_dir()
                and counts(PurePosixPath(entry.filename))
                and '__MACOSX' not in entry.filename
            )
            some = {f'{path}/{n}': archive.read(n) for n in names}
    except (
        OSError,
        EOFError,
        zipfile.BadZipFile,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise UserError(f'cannot read {path}: {error}') from None
    return {name: decode(raw, name, *options(config)) for name, raw in some.items()}


def _one_file_a_class(files: dict[str, str]) -> Labelled:
    """The class is what follows the last dot of a file's name, or what precedes it.

    `reviews.pos` and `reviews.neg` differ in the former, `pos.txt` and `neg.txt` in the latter.
    """
    paths = [PurePosixPath(bare(name)) for name in files]
    ends = [p.suffix.removeprefix('.') for p in paths]
    labels = ends if all(ends) and len(set(ends)) == len(ends) else [p.stem for p in paths]
    if len(set(labels)) < len(labels):
        raise UserError(f'two files would be one class: {", ".join(files)}')
    return [
        (line.strip(), label)
        for label, text in zip(labels, files.values())
        for line in lines(text)
        if line.strip()
    ]
