"""The data of small experiments, for looking at."""

import io
import types

import rich.console

from data import encoders, feed
from data.load import Loaded
from data.show import drawn
from data.show.look import look
from data.sources import Corpus
from tests import records
from transformer.experiment import DataConfig
from transformer.objectives import OBJECTIVES

TAGS = tuple(f'TAG{i}' for i in range(10))
KINDS = tuple(OBJECTIVES)
RICH = '[bold]not bold[/bold] <b>&amp;</b> \x1b[31mred :smile: [/]'


def loaded(kind, tokenizer='bytes', corpora=None, data=None, **fields):
    """The data of an experiment on small records, and the experiment."""
    objective = OBJECTIVES[kind]()
    found = records.RECORDS[objective.RECORDS]
    if corpora is None:
        corpora = {'': Corpus('test', found, found[:6], classes=TAGS)}
    made = None
    if objective.RECORDS != 'images':
        made = records.tokenizer_of(objective, tokenizer)
    fields = {'seed': 0, 'steps': 50, 'batch_size': 4, 'context': 48, 'target_context': 0} | fields
    model = types.SimpleNamespace(image=4, channels=3)
    fields |= {'objective': objective, 'model': model, 'data': data or DataConfig()}
    experiment = types.SimpleNamespace(**fields)

    def encoded(corpus, split):
        if made is None:
            return getattr(corpus, split)
        encoder = encoders.encoder_of(objective, made)
        return encoders.in_memory(encoder, getattr(corpus, split))

    splits = ('train', 'validation')
    prepared = {n: {s: encoded(corpus, s) for s in splits} for n, corpus in corpora.items()}
    of = feed.load(experiment, corpora, made, prepared)
    examples = None if made is None else prepared
    return Loaded(corpora, made, of, None, examples), experiment


def mixture(**options):
    entries = {'one': {'path': 'a', 'weight': 3.0}, 'two': {'path': 'b', 'weight': 1.0}}
    corpora = {
        'one': Corpus('first', [*records.TEXTS], ['validation']),
        'two': Corpus('second', ['x' * n for n in range(40, 90)], ['more validation']),
    }
    return loaded('next_token', corpora=corpora, data=DataConfig(mixture=entries), **options)


def drawn_text(seen, **options):
    out = io.StringIO()
    drawn.draw(seen, rich.console.Console(file=out, width=80, **options))
    return out.getvalue()


def hostile():
    corpora = {'': Corpus('te[red]st', [RICH * 5], [RICH])}
    data, experiment = loaded('next_token', corpora=corpora, context=200)
    return look(data, experiment, 'validation', 1, None)
