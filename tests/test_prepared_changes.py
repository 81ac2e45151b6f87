"""Prepared data of which something has changed: named, and nothing is lost."""

import pytest

from data import prepared
from data.prepared import layout, parts
from tests.prepared_kit import BYTES, CORPUS, File, Files, in_memory, ready, same, texts, tree
from transformer.errors import UserError


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(layout, 'PART', 20_000)


@pytest.mark.parametrize('half', [False, True])
@pytest.mark.parametrize(
    'change, said',
    [
        ({'corpus': (File('a.txt', 4, '2', 'z'), CORPUS.listed[1])}, 'a.txt has changed: 3 bytes'),
        ({'corpus': (File('a.txt', 3, '2', 'z'), CORPUS.listed[1])}, 'a.txt has changed'),
        ({'corpus': CORPUS.listed[:1]}, 'b.txt is gone'),
        ({'corpus': (*CORPUS.listed, File('c.txt', 1, '1', 'c'))}, 'c.txt is new'),
        ({'config': {'documents': 'line'}}, "data.documents: the default, now 'line'"),
        ({'config': {'path': 'other'}}, "data.path: 'some', now 'other'"),
        ({'tokenizer': type(BYTES)(['[MASK]'])}, 'tokenizer'),
    ],
)
def test_what_changed_is_named(tmp_path, monkeypatch, change, said, half):
    if half:
        with monkeypatch.context() as patch:
            patch.setattr(layout, 'PART', 10**9)
            patch.setattr('data.prepared.store.prepare_split', stop)
            with pytest.raises(KeyboardInterrupt):
                ready(tmp_path)
    else:
        ready(tmp_path)
    before = tree(tmp_path)
    change = dict(change)
    if 'corpus' in change:
        change['corpus'] = Files('some texts', texts(40, 9), texts(5, 9), listed=change['corpus'])
    with pytest.raises(UserError, match=said) as caught:
        ready(tmp_path, **change)
    assert '--replace' in str(caught.value)
    assert tree(tmp_path).keys() >= before.keys()
    assert all(tree(tmp_path)[name] == old for name, old in before.items() if name != '.lock')
    found = ready(tmp_path, replace=True, **change)['train']
    corpus = change.get('corpus', CORPUS)
    same(found, in_memory(corpus, tokenizer=change.get('tokenizer', BYTES)))
    same(ready(tmp_path, **change)['train'], found)
    assert len(list((tmp_path / 'data').glob('[0-9]*'))) == 1


def stop(*args, **kwargs):
    raise KeyboardInterrupt


def test_a_file_that_was_only_touched_is_the_same(tmp_path):
    ready(tmp_path)
    touched = Files(CORPUS.name, [], [], listed=(File('a.txt', 3, '9', 'x'), CORPUS.listed[1]))
    same(ready(tmp_path, touched)['train'], in_memory(CORPUS))


def test_the_old_stays_until_the_new_is_whole(tmp_path, monkeypatch):
    ready(tmp_path)
    new = Files('new', texts(50, 5), texts(5, 6), listed=(File('a.txt', 9, '2', 'n'),))
    with monkeypatch.context() as patch:
        real = parts.PartWriter.close

        def close(self, ending, skipped, last):
            return stop() if last else real(self, ending, skipped, last)

        patch.setattr(parts.PartWriter, 'close', close)
        with pytest.raises(KeyboardInterrupt):
            ready(tmp_path, new, replace=True)
    same(ready(tmp_path)['train'], in_memory(CORPUS))
    same(ready(tmp_path, new, replace=True)['train'], in_memory(new))


def test_a_source_that_changes_meanwhile(tmp_path):
    class Moving(Files):
        def files(self):
            self.calls.append(1)
            return [File('a.txt', len(self.calls), '1')]

    corpus = Moving('moving', texts(20), texts(2))
    object.__setattr__(corpus, 'calls', [])
    with pytest.raises(UserError, match=r'a.txt changed while moving was being prepared'):
        ready(tmp_path, corpus)
    with pytest.raises(UserError, match='holds no prepared data'):
        prepared.open(tmp_path, '', 'train')


def test_a_directory_elsewhere_is_refused():
    with pytest.raises(UserError, match='file system that is mounted'):
        ready('gs://bucket/data')
