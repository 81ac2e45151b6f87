"""Sources whose files can change, and a process that is killed at a chosen moment.

    python -m tests.prepared_kit ROOT FIRST STEP

prepares in ROOT/N for N = FIRST, FIRST + STEP, ...: each first in a process that is killed at its
Nth step that can be seen from outside (a write, a sync, a rename, a removal), then in one that is
left alone; ends with the first N that is beyond the last step, and prints it.
"""

import dataclasses
import functools
import os
import signal
import sys
from pathlib import Path

import numpy as np

from data import encoders, prepared, tokenizers
from data.columns import digest_of
from data.prepared import layout, parts
from data.prepared.recipe import recipe
from data.sources import Corpus
from transformer.data_config import DataConfig
from transformer.objectives import NextToken, Seq2Seq


@dataclasses.dataclass(frozen=True)
class File:
    name: str
    size: int
    modified: str
    content: str = ''

    def digest(self) -> str:
        return self.content


@dataclasses.dataclass(frozen=True)
class Files(Corpus):
    """A corpus with files that a test decides on."""

    listed: tuple[File, ...] = (File('a.txt', 3, '1', 'x'), File('b.txt', 5, '1', 'y'))

    def files(self):
        return list(self.listed)


def texts(count, seed=0, most=900):
    """Documents of many lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, most, count)
    return [
        ''.join(map(chr, rng.integers(97, 123, length))) if length > 30 else ''
        for length in lengths
    ]


CORPUS = Files('some texts', texts(200), texts(20, 1))
PAIRS = Files('pairs', list(zip(texts(150, 2), texts(150, 3))), [('a', 'bc')], [('', 'd')])
TEXT, SIDES = NextToken(), Seq2Seq()
BYTES = tokenizers.KINDS['bytes']()


def in_memory(corpus, objective=TEXT, split='train', tokenizer=BYTES):
    encoder = encoders.encoder_of(objective, tokenizer)
    return encoders.in_memory(encoder, getattr(corpus, split))


def ready(root, corpus=CORPUS, objective=TEXT, tokenizer=BYTES, **options):
    """What `prepared.examples` gives for a directory and one source."""
    fields = {'tokenizer': 'bytes', 'vocab': 0, 'prepared': str(root), 'path': 'some'}
    fields |= options.pop('config', {})
    options.setdefault('report', lambda line: None)
    config = DataConfig(**fields)
    return prepared.examples(config, objective, {'': corpus}, tokenizer, **options)['']


def prepare(root, corpus=CORPUS, objective=TEXT):
    """Without locks and tokenizers."""
    encoder = encoders.encoder_of(objective, BYTES)
    made_of = recipe('', DataConfig(), objective, corpus, encoder, 'digest')
    return prepared.prepare(
        root, '', made_of, corpus, lambda: encoders.encoder_of(objective, BYTES)
    )


def same(stored, memory):
    """Whether every integer and every start is equal, and so are all counts."""
    assert stored.columns.keys() == memory.columns.keys()
    for name, column in memory.columns.items():
        other = stored[name]
        assert (other.size, len(other), other.dtype) == (column.size, len(column), column.dtype)
        assert np.array_equal(other.starts, column.starts)
        assert np.array_equal(other.read(0, other.size), column.read(0, column.size))
        assert other.digest() == digest_of(other) == column.digest()
    assert stored.digest() == memory.digest()
    assert stored.text_bytes == memory.text_bytes
    assert stored.marked == memory.marked
    assert dict(stored.skipped) == dict(memory.skipped)


def tree(directory):
    """The bytes of all files."""
    found = sorted(path for path in Path(directory).rglob('*') if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def die_at(number):
    """Kills this process at its step `number`, of those that change the disk."""
    steps = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    class Writer(parts.ArrayRecordWriter):
        write = counted(parts.ArrayRecordWriter.write)
        close = counted(parts.ArrayRecordWriter.close)

    parts.ArrayRecordWriter = Writer
    os.fsync = counted(os.fsync)
    for name in ('replace', 'unlink', 'mkdir', 'open'):
        setattr(Path, name, counted(getattr(Path, name)))


def in_child(task):
    """How a process that does the task ends."""
    child = os.fork()
    if not child:
        code = 1
        try:
            task()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    root, first, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    layout.PART = 20_000
    number = first
    while True:

        def killed(number=number):
            die_at(number)
            prepare(root / str(number))

        code = in_child(killed)
        assert code in (0, -signal.SIGKILL), code
        assert in_child(functools.partial(prepare, root / str(number))) == 0, number
        if not code:
            print(number)
            return
        number += step


if __name__ == '__main__':
    main()
