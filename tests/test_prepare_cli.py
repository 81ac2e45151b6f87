"""`python -m data.prepare`, as it is typed."""

import json
import sys

import pytest

from data import load, prepare, prepared
from data.prepared.vocabulary import TOKENIZER
from transformer.errors import UserError
from transformer.experiment import Experiment, default_config

TEXT = 'the quick brown fox\njumps over a lazy dog\n\n' * 60


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache directory of the test's own."""
    monkeypatch.delenv('TRANSFORMER_DATA', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'transformer'


@pytest.fixture
def config(tmp_path):
    """A config file with two sources; their names are its argument."""
    for name in ('one', 'two'):
        (tmp_path / f'{name}.txt').write_text(TEXT + name * 20)
    file = tmp_path / 'config.py'
    file.write_text(
        f"""if True:
        from transformer.data_config import source
        from transformer.experiment import default_config

        def get_config(names='one'):
            config = default_config()
            names = names.split(',')
            if len(names) > 1:
                mixed = {{n: source(path=f'{tmp_path}/{{n}}.txt', weight=1.0) for n in names}}
                config.data.mixture = mixed
            else:
                config.data.path = f'{tmp_path}/{{names[0]}}.txt'
            config.data.tokenizer, config.data.vocab = 'bpe', 300
            return config
        """
    )
    return file


@pytest.fixture
def typed(config, monkeypatch, capsys):
    """What the command prints."""

    def run(*flags, names='one'):
        monkeypatch.setattr(sys, 'argv', ['prepare', f'--config={config}:{names}', *flags])
        assert prepare.main() == 0
        return capsys.readouterr()

    return run


def test_prepares_then_does_nothing(typed, cache):
    first = typed()
    assert 'prepared: ' in first.out
    assert 'tokens/s' in first.err
    header, train, validation, _ = first.out.splitlines()
    assert header.split() == list(prepare.COLUMNS)
    assert train.split()[:3] == ['data', 'train', '1']
    assert validation.split()[1] == 'validation'
    whole = len((TEXT + 'one' * 20).encode())
    assert sum(int(row.split()[4].replace(',', '')) for row in (train, validation)) == whole
    files = {path: path.stat().st_mtime_ns for path in cache.rglob('*')}
    second = typed()
    assert 'nothing to do: all is prepared' in second.out
    assert not second.err
    assert second.out.splitlines()[:3] == first.out.splitlines()[:3]
    assert files == {path: path.stat().st_mtime_ns for path in cache.rglob('*')}


def test_json_says_what_training_reads(typed, config, tmp_path):
    where = tmp_path / 'there'
    got = json.loads(typed('--json', f'--config.data.prepared={where}', names='one,two').out)
    assert got['new']
    assert got['directory'] == str(where)
    assert [(s['source'], s['split']) for s in got['splits']] == [
        (name, split) for name in ('one', 'two') for split in ('train', 'validation')
    ]
    lines, made = [], experiment(tmp_path, where)
    loaded = load.load(made, report=lines.append)
    assert not lines  # nothing was left to do
    assert loaded.directory == where
    for split in got['splits']:
        found = loaded.examples[split['source']][split['split']]
        assert found['tokens'].size == split['tokens']
        assert found.text_bytes == split['bytes']
    assert (where / TOKENIZER).read_text() == loaded.tokenizer.to_json()


def experiment(tmp_path, where, **fields):
    from transformer.data_config import source

    config = default_config()
    names = ('one', 'two')
    config.data.mixture = {n: source(path=f'{tmp_path}/{n}.txt', weight=1.0) for n in names}
    config.data.update({'tokenizer': 'bpe', 'vocab': 300, 'prepared': str(where)} | fields)
    return Experiment.from_config(config)


@pytest.mark.parametrize(
    'flag, said',
    [
        ('--config.data.vocab=320', 'size of the vocabulary: 300, now 320'),
        ('--config.data.tokenizer=unigram', "kind of tokenizer: 'bpe', now 'unigram'"),
        ('--config.data.documents=line', "config.data.documents: the default, now 'line'"),
        ('--config.data.validation_fraction=0.3', 'validation_fraction: the default, now 0.3'),
        ('', 'one.txt has changed'),
    ],
)
def test_a_directory_of_something_else(typed, tmp_path, flag, said):
    where = f'--config.data.prepared={tmp_path / "there"}'
    typed(where)
    if not flag:
        (tmp_path / 'one.txt').write_text(TEXT + 'two' * 20)
    flags = [where, flag] if flag else [where]
    with pytest.raises(UserError, match=said) as caught:
        typed(*flags)
    assert '--replace' in str(caught.value)
    assert 'prepared: ' in typed(*flags, '--replace').out
    assert 'nothing to do' in typed(*flags).out
    if flag:
        with pytest.raises(UserError, match='prepared from something else|made from something el'):
            typed(where)


def test_a_change_below_the_cache_is_another_place(typed, tmp_path, cache):
    typed()
    (tmp_path / 'one.txt').write_text(TEXT + 'two' * 20)
    assert 'prepared: ' in typed().out
    typed('--config.data.tokenizer=bytes', '--config.data.vocab=0')
    assert len(list((cache / 'data').iterdir())) == 3


def test_what_does_not_change_the_tokens_changes_nothing(typed, cache):
    typed()
    flags = ['--config.context=128', '--config.data.packing=best_fit', '--config.seed=3']
    assert 'nothing to do' in typed(*flags).out


def test_another_tokenizer_of_a_run_has_data_of_its_own(typed, tmp_path, config):
    """Below the cache directory; in a directory it is refused."""
    from data import tokenizers

    where = tmp_path / 'there'
    typed(f'--config.data.prepared={where}', names='one,two')
    other = tokenizers.KINDS['bytes']()
    made = load.load(experiment(tmp_path, 'auto'), other)
    assert made.tokenizer is other
    assert made.directory != load.load(experiment(tmp_path, 'auto')).directory
    with pytest.raises(UserError, match='tokenizer'):
        load.load(experiment(tmp_path, where), other)


def test_verify(typed, tmp_path):
    where = tmp_path / 'there'
    flag = f'--config.data.prepared={where}'
    with pytest.raises(UserError, match='holds no prepared data'):
        typed(flag, '--verify')
    typed(flag)
    assert 'every checksum is right' in typed(flag, '--verify').out
    typed()
    assert 'every checksum is right' in typed('--verify').out
    path = next(where.rglob('tokens-00000.array_record'))
    raw = bytearray(path.read_bytes())
    raw[300] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r'tokens-00000.array_record is damaged.*--replace'):
        typed(flag, '--verify')
    typed(flag, '--replace')
    assert json.loads(typed(flag, '--verify', '--json').out)['verified']['data'] > 0


@pytest.mark.parametrize(
    'flags, said',
    [
        (['--config.data.prepared=memory'], 'memory'),
        (['--replace', '--verify'], 'one of them'),
        (['--config.data.path=gone.txt'], 'gone.txt'),
    ],
)
def test_bad_input(typed, flags, said):
    with pytest.raises(UserError, match=said):
        typed(*flags)


def test_images_are_not_prepared(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['prepare', '--config=configs/vit_digits.py'])
    with pytest.raises(UserError, match='nothing to prepare'):
        prepare.main()


def test_a_place_that_cannot_be_written_to(typed, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r"cannot write .*'memory'"):
        typed(f'--config.data.prepared={tmp_path / "file" / "below"}')


def test_memory_keeps_nothing(tmp_path, cache, config):
    made = load.load(experiment(tmp_path, 'memory'))
    assert made.directory is None
    assert not cache.exists()
    there = load.load(experiment(tmp_path, tmp_path / 'there'))
    for name, splits in made.examples.items():
        for split, examples in splits.items():
            assert there.examples[name][split].digest() == examples.digest()
    assert there.feed.digest == made.feed.digest
    assert prepared.manifest(tmp_path / 'there', 'one')['recipe']['encoding']['tokenizer']
