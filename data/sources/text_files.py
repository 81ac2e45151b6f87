"""Files of text, each a document, read a block at a time: none need fit in memory."""

from collections.abc import Iterator, Sequence

from data.sources import decode, unpack
from data.sources.origin import SourceFile
from data.sources.records import at
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError


class TextFiles(Sequence):
    """Documents. One that is empty is '' here; who reads them leaves it out.

    Args:
      config: with `bad_records='skip'`, files that are no text are left out: a pass over all.
      skipped: where these are counted.
    """

    def __init__(self, files: Sequence[SourceFile], config: SourceConfig, skipped: dict[str, int]):
        decode.codec_of(config.encoding)
        self._all, self._config, self._skipped = tuple(files), config, skipped
        self._good: tuple[SourceFile, ...] | None = None

    @property
    def _files(self) -> tuple[SourceFile, ...]:
        if self._config.bad_records == 'refuse':
            return self._all
        if self._good is None:
            self._good = tuple(file for file in self._all if self._is_good(file))
        return self._good

    def _is_good(self, file: SourceFile) -> bool:
        try:
            for _ in read(file, self._config):
                pass
        except UserError:
            self._skipped['file that is no text'] = self._skipped.get('file that is no text', 0) + 1
            return False
        return True

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> str:
        return ''.join(read(self._files[at(index, len(self))], self._config))

    def blocks(self) -> Iterator[Iterator[str]]:
        """Documents, each an iterator over strings of moderate size."""
        return (read(file, self._config) for file in self._files)

    def choose(self, places: Sequence[int]) -> 'TextFiles':
        """Some of them."""
        chosen = [self._files[place] for place in places]
        made = TextFiles(chosen, self._config, {})
        made._good = tuple(chosen)
        return made


class Cut:
    """Where the text of a file is cut in two, by characters; found when it is first needed.

    Raises:
      UserError: the file is empty.
      ConfigError: a share that leaves one of the sides empty.
    """

    def __init__(self, file: SourceFile, config: SourceConfig):
        decode.codec_of(config.encoding)
        self.file, self.config = file, config
        self._at: int | None = None

    def place(self) -> int:
        if self._at is not None:
            return self._at
        count, shown = 0, False
        for text in read(self.file, self.config):
            count += len(text)
            shown = shown or not text.isspace()
        if not shown:
            size = f'{self.file.size} bytes, all white space'
            raise UserError(f'text file {self.file.name} is empty ({size})')
        share = self.config.validation_fraction
        cut = int(count * (1 - share))
        if not 0 < cut < count:
            accepted = f'a share that leaves text on both sides of {self.file.name} '
            raise ConfigError('data.validation_fraction', share, f'{accepted}({count} characters)')
        self._at = cut
        return cut


class Half(Sequence):
    """One document: the beginning of a file, or what remains of it."""

    def __init__(self, cut: Cut, end: bool):
        self._cut, self._is_end = cut, end

    def __len__(self) -> int:
        self._cut.place()
        return 1

    def __getitem__(self, index: int) -> str:
        at(index, 1)
        return ''.join(next(self.blocks()))

    def blocks(self) -> Iterator[Iterator[str]]:
        """As of `TextFiles`."""
        yield self._texts()

    def _texts(self) -> Iterator[str]:
        before, cut = 0, self._cut.place()
        for text in read(self._cut.file, self._cut.config):
            place = max(0, cut - before)
            before += len(text)
            part = text[place:] if self._is_end else text[:place]
            if part:
                yield part
            if before >= cut and not self._is_end:
                return


def read(file: SourceFile, config: SourceConfig) -> Iterator[str]:
    """A file's text in blocks."""
    return decode.stream(unpack.blocks(file), file.name, *decode.options(config))
