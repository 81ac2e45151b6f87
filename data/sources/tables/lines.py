"""Lines and paragraphs of text files as strings; lines of JSON and of tabs as dicts."""

import itertools
import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.sources import decode, unpack
from data.sources.origin import BLOCK, SourceFile, refusing
from data.sources.tables import spans
from data.sources.tables.base import Bad, Table
from data.sources.tables.kept import FILES
from transformer.data_config import SourceConfig
from transformer.errors import UserError

_LONE = re.compile(r'\\u[dD][89a-fA-F]')  # half of a surrogate pair may follow


class Lines(Table):
    """The lines of a file. An index of where they begin, a place for each `spans.STEP` of them, is
    made when it is first needed.

    Records of a plain file are read where they are. One that is packed, elsewhere, or in an
    encoding such as UTF-16 is read from its beginning: in order with little memory, or in any order
    from a copy in memory.
    """

    FIND = staticmethod(spans.all_lines)
    HEADS = 0  # lines before the records

    def __init__(self, file: SourceFile, config: SourceConfig):
        self.name = file.name
        self._file, self._config = file, config
        self._errors, encoding = decode.options(config)
        codec = decode.codec_of(encoding)
        self._recode = decode.wide(codec)
        self._codec = 'utf-8' if self._recode else codec
        self._index, self._bytes, self._plain = None, None, None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_bytes': None}

    def _blocks(self) -> Iterator[bytes]:
        blocks = unpack.blocks(self._file)
        if not self._recode:
            return blocks
        texts = decode.stream(blocks, self.name, *decode.options(self._config))
        return (text.encode() for text in texts)

    @property
    def _found(self) -> spans.Index:
        if self._index is None:
            size = 0

            def counted() -> Iterator[bytes]:
                nonlocal size
                for block in self._blocks():
                    size += len(block)
                    yield block

            found = spans.index(self.FIND(counted()), 0)
            found.begins[-1] = size
            self._index = found
        return self._index

    def __len__(self) -> int:
        return self._found.count - self.HEADS

    def fetch(self, index: int) -> bytes:
        begin, end = self._span(index)
        return self._all()[begin:end]

    def _all(self) -> bytes | mmap.mmap:
        if self._plain is None:
            packed = self._recode or self._file.remote or unpack.packing(self._file)
            self._plain = not packed
        if self._plain:
            return FILES.of((Lines, self._file), self._mapped)
        if self._bytes is None:
            self._bytes = b''.join(self._blocks())
        return self._bytes

    def _span(self, index: int) -> tuple[int, int]:
        """Offsets of a record; the index tells where to look for it."""
        number, inner = divmod(index + self.HEADS, spans.STEP)
        begin, end = self._found.begins[number : number + 2].tolist()
        begins, ends = self._spans(begin, self._all()[begin:end])
        return int(begins[inner]), int(ends[inner])

    def _spans(self, begin: int, part: bytes) -> spans.Spans:
        found = list(self.FIND([part], begin))
        return tuple(np.concatenate(each) for each in zip(*found))

    def _mapped(self) -> mmap.mmap:
        with refusing(self.name), Path(self.name).open('rb') as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def raw(self) -> Iterator[bytes]:
        return itertools.islice(self._raw(), self.HEADS, None)

    def _raw(self) -> Iterator[bytes]:
        if not self._found.count:
            return
        try:
            for begin, part in spans.read(self._blocks(), self._found.begins, BLOCK):
                begins, ends = self._spans(begin, part)
                for first, last in zip((begins - begin).tolist(), (ends - begin).tolist()):
                    yield part[first:last]
        except EOFError:
            raise UserError(f'{self.name} became shorter while it was read') from None

    def text(self, raw: bytes) -> str:
        """Errors as of `parse`."""
        if (nul := raw.find(b'\0')) >= 0:
            raise Bad('NUL byte', 'binary, not text: NUL byte', nul)
        try:
            return raw.decode(self._codec, self._errors).removesuffix('\r')
        except UnicodeDecodeError as error:
            codec, bad = self._codec.upper(), error.object[error.start]
            raise Bad(
                f'not {codec}',
                f'not {codec}: byte 0x{bad:02x}; '
                'config.data.encoding_errors=replace puts U+FFFD for each bad byte',
                error.start,
            ) from None

    def parse(self, raw: bytes) -> str:
        """A line; '' if it is blank, as a document without text is left out."""
        text = self.text(raw)
        return '' if text.isspace() else text

    def where(self, index: int, offset: int | None = None) -> str:
        begin, before, line = self._span(index)[0], 0, 1
        for block in self._blocks():
            line += block[: max(0, begin - before)].count(b'\n')
            before += len(block)
            if before >= begin:
                break
        place = f'{self.name}, line {line}'
        return place if offset is None else f'{place}, offset {begin + offset}'


class Paragraphs(Lines):
    """What lies between blank lines."""

    FIND = staticmethod(spans.paragraphs)


class JsonLines(Lines):
    """One JSON object a line; blank lines are none."""

    FIND = staticmethod(spans.filled_lines)

    def parse(self, raw: bytes) -> dict[str, Any]:
        text = self.text(raw)
        try:
            record = json.loads(text)
        except ValueError as error:
            array = ' (an array: one object a line is needed)' if text[:1] == '[' else ''
            raise Bad('not JSON', f'not JSON: {error}{array}') from None
        except RecursionError:
            raise Bad('not JSON', 'not JSON: nested too deeply') from None
        if not isinstance(record, dict):
            raise Bad('not an object', f'not a JSON object but {text[:40]!r}')
        if _LONE.search(text):
            return self._whole_characters(record)
        return record

    def _whole_characters(self, record: dict[str, Any]) -> dict[str, Any]:
        """Half of a surrogate pair, as JSON may have, is no text."""
        text = json.dumps(record, ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError:
            if self._errors == 'strict':
                reason = 'half a surrogate pair'
                detail = 'config.data.encoding_errors=replace puts U+FFFD'
                raise Bad(reason, f'{reason}, which is no character; {detail}') from None
            return json.loads(re.sub('[\ud800-\udfff]', '\ufffd', text))
        return record


class Tabs(Lines):
    """Columns apart by tabs, named in the first line."""

    FIND = staticmethod(spans.filled_lines)

    HEADS = 1

    def __init__(self, file: SourceFile, config: SourceConfig):
        super().__init__(file, config)
        if not self._found.count:
            raise UserError(f'text file {self.name} is empty')
        try:
            self.fields = tuple(self.text(next(self._raw())).split('\t'))
        except Bad as bad:
            raise UserError(f'{self.name}, line 1: {bad.detail}') from None
        if len(set(self.fields)) < len(self.fields):
            raise UserError(f'{self.name}, line 1: columns of one name: {", ".join(self.fields)}')

    def parse(self, raw: bytes) -> dict[str, str]:
        values = self.text(raw).split('\t')
        if len(values) != len(self.fields):
            detail = f'{len(values)} columns, not {len(self.fields)} as in the first line'
            raise Bad('columns missing or too many', detail)
        return dict(zip(self.fields, values))
