"""What each source is read for: texts and pairs of labelled texts, and objectives of a mixture."""

import dataclasses
import types

import numpy as np
import pytest

import eval as evaluation
from data import feed, load, prepared, sources, tokenizers
from data.mixture import Stream
from transformer import mixing, objectives
from transformer.data_config import DataConfig, MixedSource
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, default_config
from transformer.objectives import Classification, Masked, Seq2Seq, TokenClassification

GOOD, BAD = [f'Good film {i}' for i in range(30)], [f'bad film {i}' for i in range(20)]
CLASSES = {'format': 'classes', 'encoding': 'latin-1', 'validation_fraction': 0.2}


@pytest.fixture
def reviews(tmp_path):
    folder = tmp_path / 'reviews'
    folder.mkdir()
    for name, lines in (('r.pos', GOOD), ('r.neg', BAD)):
        (folder / name).write_text(''.join(f'{line}\n' for line in lines))
    return str(folder)


@pytest.fixture
def words(tmp_path):
    folder = tmp_path / 'words'
    folder.mkdir()
    for split in ('train', 'validation'):
        (folder / f'{split}.de').write_text('eins zwei\ndrei\n' * 6)
        (folder / f'{split}.en').write_text('one two\nthree\n' * 6)
    return str(folder)


# A file a class, read by others


def test_texts_and_pairs_of_classes_keep_their_splits(reviews):
    config = DataConfig(path=reviews, **CLASSES)
    labelled = sources.load(config, Classification())
    name = dict(enumerate(labelled.classes))
    texts = sources.load(config, Masked())
    assert texts.classes == () and name == {0: 'neg', 1: 'pos'}
    pairs = sources.load(dataclasses.replace(config, prefix='Say: '), Seq2Seq(lowercase=True))
    for split in ('train', 'validation'):
        of_class = getattr(labelled, split)
        assert getattr(texts, split) == [text for text, _ in of_class]
        want = [(f'say: {text.lower()}', name[label]) for text, label in of_class]
        assert getattr(pairs, split) == want
    # The same without a format, where classes are what is asked for.
    assert sources.load(dataclasses.replace(config, format='auto'), Classification()) == labelled


def test_a_prefix_is_before_the_source_alone(words):
    found = sources.load(DataConfig(path=words, prefix='German: '), Seq2Seq())
    assert found.train[:2] == [('German: eins zwei', 'one two'), ('German: drei', 'three')]
    assert {target for _, target in found.validation} == {'one two', 'three'}
    assert all(source.startswith('German: ') for source, _ in found.validation)


def test_classes_are_no_tags_and_prefixes_belong_to_pairs(reviews, words):
    with pytest.raises(ConfigError, match="data.format='classes'"):
        sources.load(DataConfig(path=reviews, **CLASSES), TokenClassification())
    for objective in (Masked(), Classification()):
        with pytest.raises(ConfigError, match="data.prefix='x: '"):
            sources.load(DataConfig(path=reviews, prefix='x: ', **CLASSES), objective)
    with pytest.raises(ConfigError, match=r'data\.path=.*one file a class'):
        sources.load(DataConfig(path=f'{words}/none', format='classes'), Masked())


def test_a_classifier_begins_like_the_documents_that_were_learnt(reviews):
    corpus = sources.load(DataConfig(path=reviews, **CLASSES), Masked())
    plain = tokenizers.train(DataConfig(tokenizer='bpe', vocab=300), corpus)
    ids = plain.encode('Good film')
    assert plain.wrap(ids).tolist() == [plain.end, *ids]
    marked = plain.with_special(['[CLS]'])
    assert marked.wrap(ids, 3).tolist() == [marked.special('[CLS]'), *ids[:2]]
    letters = tokenizers.train(DataConfig(tokenizer='characters', vocab=0), corpus)
    with pytest.raises(UserError, match=r"no special token '\[CLS\]'"):
        letters.wrap([0])


# An objective for each source


def tasks(reviews, words):
    """An experiment of three tasks."""
    config = default_config('encoder_decoder', 'seq2seq')
    config.data.mixture = {
        'polarity': {'path': reviews, 'prefix': 'polarity: ', **CLASSES},
        'translation': {'path': words, 'prefix': 'translate: '},
        'spans': {'path': reviews, 'objective': 'span_corruption', **CLASSES},
    }
    config.data.vocab = 400
    config.data.prepared = 'memory'
    config.update({'context': 64, 'target_context': 40, 'batch_size': 2})
    return Experiment.from_config(config)


def test_each_source_of_a_mixture_has_its_objective(reviews, words):
    experiment = tasks(reviews, words)
    loaded = load.load(experiment, report=lambda text: None)
    tokenizer, found = loaded.tokenizer, loaded.feed
    stream, shown = Stream(found.parts, found.order, 0), {}
    for i in range(12):
        row = stream(i)
        assert (len(row['inputs']), len(row['targets'])) == (64, 40)
        given = tokenizer.decode(row['inputs'][row['segment_ids'] == 1])
        wanted = tokenizer.decode(row['targets'][row['decoder_segment_ids'] == 1])
        shown[found.sources[int(row['source'])]] = given, wanted.removesuffix('<|endoftext|>')
    assert shown['polarity'][0].startswith('polarity: ')
    assert shown['polarity'][1] in ('pos', 'neg')
    assert shown['translation'][0].startswith('translate: ')
    assert '<extra_id_0>' in shown['spans'][0] and shown['spans'][1].startswith('<extra_id_0>')
    # The rows are those of the objective alone.
    spans = DataConfig(path=reviews, vocab=400, prepared='memory', **CLASSES)
    alone = dataclasses.replace(experiment, objective=objectives.SpanCorruption(), data=spans)
    want = feed.load(alone, loaded.corpora['spans'], tokenizer).train.rows
    mixed = found.parts[found.sources.index('spans')]
    assert want.drawn == mixed.drawn > 1
    for place in range(want.drawn):
        row, other = want.draw(place, 1, 0), mixed.draw(place, 1, 0)
        assert all(np.array_equal(row[name], other[name]) for name in row)


def test_all_sources_bring_their_special_tokens(reviews, words):
    experiment = tasks(reviews, words)
    names = mixing.special_tokens(experiment.objective, experiment.data.sources)
    assert names == objectives.SpanCorruption().special_tokens
    assert mixing.special_tokens(Seq2Seq(), {}) == ()


def test_what_a_source_is_read_for_is_part_of_what_is_prepared(reviews, words):
    def place(**fields):
        experiment = tasks(reviews, words)
        mixture = {k: dataclasses.asdict(v) for k, v in experiment.data.mixture.items()}
        mixture['spans'] |= fields
        data = dataclasses.replace(experiment.data, mixture=mixture, prepared='auto')
        corpora = load.corpora_of(data, experiment.objective)
        tokenizer = tokenizers.Bytes(('<extra_id_0>',))
        return prepared.root_of(data, experiment.objective, corpora, tokenizer)

    base = place()
    assert base == place() == place(weight=3.0)
    changed = ({'objective': 'denoising'}, {'objective': ''}, {'objective': '', 'prefix': 'x'})
    assert len({base, *(place(**fields) for fields in changed)}) == 4


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'objective': 'next_token'}, "spans.objective='next_token'.*span_corruption, denoising"),
        ({'objective': 'no such'}, "spans.objective='no such'"),
        ({}, 'target_context=0.*above 0'),
    ],
)
def test_objectives_that_do_not_mix_are_refused(reviews, words, change, message):
    config = default_config('encoder_decoder', 'seq2seq')
    spans = {'path': reviews, 'objective': 'span_corruption', **CLASSES} | change
    config.data.mixture = {'spans': spans, 'words': {'path': words}}
    config.target_context = 40 if change else 0
    with pytest.raises(ConfigError, match=message):
        Experiment.from_config(config)


def test_prefixes_mix_with_prefixes_only():
    made = {kind: objective() for kind, objective in objectives.OBJECTIVES.items()}
    assert mixing.mix(made['next_token'], made['fill_in_middle'])
    assert not mixing.mix(made['next_token'], made['prefix'])
    assert not mixing.mix(made['masked'], made['classification'])
    assert mixing.of_source(made['seq2seq'], MixedSource()) is made['seq2seq']


def test_each_source_is_scored_by_its_own_pairs(reviews, words, monkeypatch):
    pytest.importorskip('sacrebleu')
    experiment = tasks(reviews, words)
    loaded = types.SimpleNamespace(corpora=load.corpora_of(experiment.data, experiment.objective))
    pairs = evaluation.pairs_of(experiment, loaded, 'validation')
    assert list(pairs) == ['polarity', 'translation']  # spans are no pairs
    assert evaluation.pairs_of(experiment, loaded, 'test') == {}

    def respond(speaker, texts):
        return ['pos' if text.startswith('polarity') else ' one  two ' for text in texts]

    monkeypatch.setattr('transformer.respond.respond', respond)
    run = types.SimpleNamespace(writer=None, params=None)
    found = evaluation.written(run, experiment.objective, None, pairs, None, None)
    right = [target == 'pos' for _, target in pairs['polarity']]
    assert found['exact_match/polarity'] == pytest.approx(100 * np.mean(right))
    assert found['exact_match/translation'] == 50
    assert 'bleu/polarity' in found and not {'exact_match', 'bleu/spans'} & found.keys()
    alone = evaluation.written(
        run, experiment.objective, None, {'': pairs['translation']}, None, None
    )
    assert alone['token_f1'] == found['token_f1/translation'] > 0
