"""How fast and how lean the data path is: each number beside its yardstick.

    python -m benchmarks.data
    python -m benchmarks.data --only=read,tokenise --repeats=5 --json=data.json
    python -m benchmarks.data --only=prepare --megabytes=2000

- read: tokens a second of training batches (32 rows of 1,024, prepared data, files in the page
  cache), on one core, for three objectives. Yardstick of the next token: 0.46 million, which one
  H200 takes that trains GPT-2 124M at 40% of 989 TFLOP/s (6 N + 12 layers x width x context FLOPs a
  token: 8.6e8).
- tokenise: `encode_all` against `encode_batch` of the `tokenizers` library alone, all cores, in
  turns.
- wait: share of the quickstart's step time that goes into waiting for data.
- prepare: resident memory while a text file of so many megabytes is prepared; less than its size.
- open: time and memory to open a prepared set of 10 billion tokens, whose files are sparse.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.record import add_flag, finish, make
from transformer import cli
from transformer.errors import UserError

READ = ('next_token', 'masked', 'span_corruption')
NEEDED = {'next_token': 3e6, 'masked': 1e6, 'span_corruption': 1e6}
H200 = 0.46e6  # tokens a second
CONTEXT, BATCH, BATCHES = 1024, 32, 60
GIB = 2.0**30


def main() -> int:
    parser = cli.parser(__doc__)
    known = ('read', 'tokenise', 'wait', 'prepare', 'open')
    parser.add_argument('--only', default=','.join(known), help='parts, with commas between')
    parser.add_argument('--repeats', type=int, default=3, help='of each side (3)')
    parser.add_argument('--megabytes', type=int, default=2000, help='of the text to prepare (2000)')
    parser.add_argument('--steps', type=int, default=60, help='of the quickstart, for wait (60)')
    add_flag(parser)
    parser.add_argument('--part', help='one part in this process, as the benchmark itself asks')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: this benchmark has its own data')
    if flags.part:
        name, _, argument = flags.part.partition(':')
        print(json.dumps(PARTS[name](flags, argument)))
        return 0
    chosen = flags.only.split(',')
    for name in chosen:
        if name not in known:
            parser.error(
                f'--only={flags.only}: {name!r} is not known; accepted: {", ".join(known)}'
            )
    for field in ('repeats', 'megabytes', 'steps'):
        if getattr(flags, field) < 1:
            parser.error(f'--{field}={getattr(flags, field)}: accepted: at least 1')
    results = []
    for name in chosen:
        for result in MEASURES[name](flags):
            results.append(result)
            print(f'{result["name"]}: beside {result["beside"]}{result["note"]}', flush=True)
    finish(results, flags.json)
    return 0


def run(part: str, flags, *more: str) -> dict:
    """A part in a process of its own, so that memory and affinity are its own."""
    command = [sys.executable, '-m', 'benchmarks.data', f'--part={part}', *more]
    command += [f'--megabytes={flags.megabytes}', f'--steps={flags.steps}']
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'{part} failed: {(done.stderr.strip() or "no message").splitlines()[-1]}')
    return json.loads(done.stdout.strip().splitlines()[-1])


def record(name: str, ours: float, peer: float, unit: str, beside: str, note: str = '') -> dict:
    return make(name, ours, peer, unit, beside=beside, note=note)


def median(values: list[float]) -> tuple[float, str]:
    return statistics.median(values), f' [{min(values):,.4g} to {max(values):,.4g}]'


# Reading


def read(flags) -> Iterator[dict]:
    for kind in READ:
        rates = [run(f'read:{kind}', flags)['rate'] for _ in range(flags.repeats)]
        rate, spread = median(rates)
        beside, peer = f'needed on one core{spread}', NEEDED[kind]
        yield record(f'read, {kind}', rate, peer, 'tokens/s', beside)
        if kind == 'next_token':
            yield record('read, against one H200', rate, H200, 'tokens/s', 'GPT-2 124M, 40% MFU')


def read_part(flags, kind: str) -> dict:
    """Tokens a second of training batches, padding included, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from data import feed, load
    from transformer.experiment import Experiment, default_config

    family = {'next_token': 'decoder', 'masked': 'encoder'}.get(kind, 'encoder_decoder')
    config = default_config(family, kind)
    config.context, config.batch_size = CONTEXT, BATCH
    if kind == 'span_corruption':
        config.objective.sentinels = 100
    loaded = load.load(Experiment.from_config(config), report=lambda line: None)
    batches = feed.train_batches(loaded.feed, batch_size=BATCH, accumulation=1, first=0, prefetch=2)
    next(batches)
    begin = time.perf_counter()
    tokens = sum(next(batches)['inputs'].size for _ in range(BATCHES))
    return {'rate': tokens / (time.perf_counter() - begin)}


# Tokenising


def tokenise(flags) -> Iterator[dict]:
    found = {}
    for _ in range(flags.repeats):
        for side in ('ours', 'peer'):  # in processes of their own: the peer leaves much memory
            for name, rate in run(f'tokenise:{side}', flags).items():
                found.setdefault((name, side), []).append(rate)
    for name in ('documents', 'one document'):
        ours, spread = median(found[name, 'ours'])
        peer, other = median(found[name, 'peer'])
        beside = f'encode_batch{other}, ours{spread}'
        yield record(f'tokenise, {name}', ours, peer, 'tokens/s', beside)


def tokenise_part(flags, side: str) -> dict:
    """Tokens a second of many documents, and of all their text as one, the second time."""
    from tokenizers import Tokenizer

    from data import load
    from data.sources.documents import cut
    from transformer.experiment import Experiment, default_config

    experiment = Experiment.from_config(default_config())
    corpora = load.corpora_of(experiment.data, experiment.objective)
    made = load.tokenizer_of(experiment, corpora, lambda line: None)
    library = Tokenizer.from_str(made.to_json())
    library.encode_special_tokens = True  # as ours: text that spells one out is text
    texts = list(corpora[''].train)

    def theirs(batch: list[str]) -> int:
        count = 0
        for first in range(0, len(batch), 64):  # thousands of encodings at once would be slower
            encoded = library.encode_batch(batch[first : first + 64], add_special_tokens=False)
            count += sum(map(len, encoded))
        return count

    def ours(batch: list[str]) -> int:
        return sum(map(len, made.encode_all(iter(batch))))

    count = ours if side == 'ours' else theirs
    rates = {}
    for name, batch in {'documents': texts, 'one document': list(cut([''.join(texts)]))}.items():
        for _ in range(2):
            begin = time.perf_counter()
            rates[name] = count(batch) / (time.perf_counter() - begin)
    return rates


# Waiting


def wait(flags) -> Iterator[dict]:
    shares = run('wait', flags)['shares']
    share, spread = median(shares)
    yield record('share of the quickstart that waits', share, 0.01, '', f'accepted{spread}')


def wait_part(flags, argument: str) -> dict:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, 'train.py', '--config=configs/quickstart.py']
        command += [f'--workdir={directory}', f'--config.steps={flags.steps}']
        command += ['--config.eval_every=0', '--config.checkpoint_every=0', '--config.log_every=5']
        subprocess.run(command, check=True, capture_output=True)
        lines = (Path(directory) / 'metrics.jsonl').read_text(encoding='utf-8').splitlines()
    records = [json.loads(line) for line in lines]
    # The first interval fills the buffers.
    shares = [r['data_wait'] for r in records if 'data_wait' in r][1:]
    return {'shares': shares}


# Preparing


def prepare(flags) -> Iterator[dict]:
    found = run('prepare', flags)
    name = f'memory while preparing {flags.megabytes:,} MB'
    beside = 'accepted, all in all'
    note = f', {found["seconds"]:.0f} s, {found["tokens"] / 1e6:.0f} M tokens'
    yield record(name, found['peak'] / GIB, 2.0, 'GiB', beside, note)


def prepare_part(flags, argument: str) -> dict:
    from data import load
    from transformer.experiment import Experiment, default_config

    with tempfile.TemporaryDirectory() as directory:
        source = default_config()
        corpora = load.corpora_of(Experiment.from_config(source).data, _objective())
        text = '\n'.join(corpora[''].train).encode()
        path = Path(directory) / 'text.txt'
        with path.open('wb') as file:
            for _ in range(-(-flags.megabytes * 10**6 // len(text))):
                file.write(text)
        del text
        config = default_config()
        config.data.path, config.data.prepared = str(path), f'{directory}/prepared'
        config.context = CONTEXT
        begin = time.perf_counter()
        command = [sys.executable, '-m', 'benchmarks.data', '--part=prepare_one:' + directory]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UserError(done.stderr.strip().splitlines()[-1])
        found = json.loads(done.stdout.strip().splitlines()[-1])
    return found | {'seconds': time.perf_counter() - begin}


def prepare_one_part(flags, directory: str) -> dict:
    from data import load
    from transformer.experiment import Experiment, default_config

    config = default_config()
    config.data.path, config.data.prepared = f'{directory}/text.txt', f'{directory}/prepared'
    loaded = load.load(Experiment.from_config(config), report=lambda line: None)
    return {'peak': peak(), 'tokens': loaded.feed.train.predicted}


def _objective():
    from transformer.objectives import NextToken

    return NextToken()


def peak() -> int:
    """Greatest resident set of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# Opening


def open_large(flags) -> Iterator[dict]:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, '-m', 'benchmarks.open_many', directory]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = map(float, done.stdout.split())
    yield record('time to open 10 billion tokens', seconds, 2.0, 's', 'accepted')
    beside = 'accepted, beyond the libraries'
    yield record('memory to open 10 billion tokens', memory, 200.0, 'MiB', beside)


PARTS = {'read': read_part, 'tokenise': tokenise_part, 'wait': wait_part}
PARTS |= {'prepare': prepare_part, 'prepare_one': prepare_one_part}
MEASURES = {
    'read': read,
    'tokenise': tokenise,
    'wait': wait,
    'prepare': prepare,
    'open': open_large,
}


if __name__ == '__main__':
    cli.run(main)
