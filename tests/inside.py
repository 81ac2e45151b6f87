"""Subjects to look into: tiny models with what it takes to read a text."""

import dataclasses
import functools

from data.tokenizers import Bytes
from tests import tiny
from transformer.inspect import Subject
from transformer.objectives import OBJECTIVES

# kind of objective -> (family of tests.tiny, head)
MODELS = {
    'next_token': ('llama', 'tokens'),
    'prefix': ('gpt', 'tokens'),
    'masked': ('bert', 'masked'),
    'seq2seq': ('transformer', 'tokens'),
    'span_corruption': ('t5', 'tokens'),
    'classification': ('classifier', 'class'),
    'token_classification': ('albert', 'token_class'),
    'image_classification': ('vit', 'class'),
}


@functools.lru_cache
def subject(kind: str, context: int = 16) -> Subject:
    """A model of that objective; its tokens are bytes, its classes 'bad', 'good' and 'mixed'."""
    objective, tokenizer = OBJECTIVES[kind](), None
    if kind == 'span_corruption':
        objective = dataclasses.replace(objective, sentinels=4)
    name, head = MODELS[kind]
    sizes = {'head': head}
    if objective.reads_text:
        tokenizer = Bytes(objective.special_tokens)
        sizes |= {'vocab': tokenizer.vocab_size, 'context': context}
    model = tiny.member(name, **sizes)
    classes = () if objective.HEAD in ('tokens', 'masked') else ('bad', 'good', 'mixed')
    params = tiny.drawn(model)
    return Subject(model, params, objective, tokenizer, classes, f'a tiny {name}')


@functools.lru_cache
def without_attention() -> Subject:
    """A decoder of state spaces alone."""
    objective, tokenizer = OBJECTIVES['next_token'](), Bytes(())
    model = tiny.member('mamba', mixers=('mamba',), vocab=tokenizer.vocab_size)
    return Subject(model, tiny.drawn(model), objective, tokenizer, (), 'a tiny Mamba')


def made_up(task) -> Subject:
    """A decoder of a made-up task."""
    model = tiny.member('gpt', vocab=task.vocab)
    return Subject(model, tiny.drawn(model), task, None, (), f'a tiny model of {task.kind}')
