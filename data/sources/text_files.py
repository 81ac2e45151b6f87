"""Files of text, each a document, read a block at a time: none need fit in memory."""

from collections.abc import Iterator, Sequence

from data.sources import decode, unpack
from data.sources.origin import SourceFile
from data.sources.records import at
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

BAD = 'file that is no text'


class TextFiles(Sequence):
    """Documents. One that is empty is '' here; who reads them leaves it out.

    Args:
      config: with `bad_records='skip'`, files that are no text are left out: each is read once to
        find out, in turn where they are read in order, or all of them for a length or an index.
      skipped: where these are counted.

    Attributes:
      found: how many files there are, text or not.
    """

    def __init__(self, files: Sequence[SourceFile], config: SourceConfig, skipped: dict[str, int]):
        decode.codec_of(config.encoding)
        self._all, self._config, self._skipped = tuple(files), config, skipped
        self._known: dict[SourceFile, bool] = {}
        self.found = len(self._all)

    def _files(self) -> Iterator[SourceFile]:
        return iter(self._all) if self._config.bad_records == 'refuse' else self._good()

    def _good(self) -> Iterator[SourceFile]:
        return (file for file in self._all if self._is_good(file))

    def _is_good(self, file: SourceFile) -> bool:
        if file not in self._known:
            try:
                for _ in read(file, self._config):
                    pass
                self._known[file] = True
            except UserError:
                self._known[file] = False
                self._skipped[BAD] = self._skipped.get(BAD, 0) + 1
        return self._known[file]

    def __len__(self) -> int:
        return self.found if self._config.bad_records == 'refuse' else sum(1 for _ in self._good())

    def __getitem__(self, index: int) -> str:
        files = self._all if self._config.bad_records == 'refuse' else tuple(self._good())
        return ''.join(read(files[at(index, len(files))], self._config))

    def blocks(self) -> Iterator[Iterator[str]]:
        """Documents, each an iterator over strings of moderate size."""
        return (read(file, self._config) for file in self._files())

    def choose(self, places: Sequence[int]) -> 'TextFiles':
        """Some of the files found."""
        return TextFiles([self._all[place] for place in places], self._config, self._skipped)


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
