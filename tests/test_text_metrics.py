"""Golden values: ROUGE as the package `rouge_score` 0.1.2 counts it, the rest by hand."""

import sys

import numpy as np
import pytest

from transformer import text_metrics
from transformer.errors import UserError

CONFUSION = np.array([[1, 1, 0], [0, 2, 0], [1, 0, 1]])


def test_classes():
    assert text_metrics.accuracy(CONFUSION) == pytest.approx(4 / 6)
    each = [2 / 4, 4 / 5, 2 / 3]
    assert [text_metrics.binary_f1(CONFUSION, i) for i in range(3)] == pytest.approx(each)
    assert text_metrics.macro_f1(CONFUSION) == pytest.approx(sum(each) / 3)
    # Not class 0: three right; three said, of four true.
    assert text_metrics.micro_f1(CONFUSION, outside=0) == pytest.approx(2 * 3 / (4 + 4))


def test_a_class_that_never_occurs_does_not_lower_the_mean():
    padded = np.pad(CONFUSION, (0, 1))
    assert text_metrics.macro_f1(padded) == text_metrics.macro_f1(CONFUSION)
    assert text_metrics.binary_f1(padded, 3) == 0
    assert text_metrics.micro_f1(np.diag([5, 0]), outside=0) == 0


@pytest.mark.parametrize(
    'confusion', [np.ones((2, 3)), np.zeros((2, 2)), np.array([[1, -1], [0, 1]]), np.ones(4)]
)
def test_what_is_no_confusion_matrix_is_refused(confusion):
    for f in (text_metrics.accuracy, text_metrics.macro_f1, text_metrics.binary_f1):
        with pytest.raises(ValueError, match='confusion'):
            f(confusion)
    with pytest.raises(ValueError, match='class 3 .*0 to 2'):
        text_metrics.micro_f1(CONFUSION, outside=3)


ROUGE = [
    ('The cat sat on the mat.', 'The cat was sitting on the mat, today.', (5 / 7, 1 / 2, 5 / 7)),
    ('police kill the gunman', 'police killed the gunman', (3 / 4, 1 / 3, 3 / 4)),
    ('the gunman kill police', 'police killed the gunman', (3 / 4, 1 / 3, 1 / 2)),
    ('A dog; a dog; a DOG', 'a dog chased a 2nd dog in 1999', (4 / 7, 1 / 6, 4 / 7)),
    ('one', 'one', (1, 0, 1)),
    ('Héllo', 'hllo', (0, 0, 0)),
    ('', 'something', (0, 0, 0)),
]


def test_rouge():
    for prediction, reference, expected in ROUGE:
        found = [text_metrics.rouge([prediction], [reference], kind) for kind in '12L']
        assert found == pytest.approx([100 * x for x in expected])
    predictions, references, scores = zip(*ROUGE)
    for kind, expected in zip('12L', zip(*scores)):
        found = text_metrics.rouge(predictions, references, kind)
        assert found == pytest.approx(100 * np.mean(expected))
    with pytest.raises(ValueError, match="kind='3' .*1, 2, L"):
        text_metrics.rouge(predictions, references, '3')


@pytest.mark.parametrize(
    ('prediction', 'reference', 'expected'),
    [
        ('The Normans!', 'normans', 100),
        ('in the 10th century', '10th and 11th centuries', 100 * 2 / (3 + 4)),
        ('a cat and a cat', 'cat', 100 * 2 / (3 + 1)),
        ("it's theirs", 'its theirs', 100),
        ('the', 'a', 100),
        ('the', 'cat', 0),
        ('cat', ['dog', 'a cat sat', 'Cat.'], 100),
    ],
)
def test_token_f1(prediction, reference, expected):
    assert text_metrics.token_f1([prediction], [reference]) == pytest.approx(expected)
    mixed = text_metrics.token_f1([prediction, 'x'], [reference, 'y'])
    assert mixed == pytest.approx(expected / 2)


def test_bleu():
    pytest.importorskip('sacrebleu')
    predictions = ['The dog bit the man today .', 'It was not a surprise to the four of us .']
    references = ['The dog bit the man yesterday .', 'It was no surprise to the four of us .']
    # Shared 1- to 4-grams: 15 of 18, 11 of 16, 8 of 14, 6 of 12; a word more than the reference.
    expected = 100 * (15 / 18 * 11 / 16 * 8 / 14 * 6 / 12) ** 0.25
    score, signature = text_metrics.bleu(predictions, references)
    assert score == pytest.approx(expected)
    assert 'case:mixed' in signature and 'tok:13a' in signature
    loud = [p.upper() for p in predictions]
    assert text_metrics.bleu(loud, references)[0] < expected / 2
    score, signature = text_metrics.bleu(loud, references, lowercase=True)
    assert score == pytest.approx(expected) and 'case:lc' in signature
    score, signature = text_metrics.bleu(predictions, references, tokenize='char')
    assert score == pytest.approx(82.51940236109824) and 'tok:char' in signature
    both = [[r, p] for r, p in zip(references, predictions)]
    assert text_metrics.bleu(predictions, both)[0] == pytest.approx(100)
    assert 'nrefs:var' in text_metrics.bleu(predictions, [both[0], references[1]])[1]
    with pytest.raises(UserError, match="tokenize='words' .*13a"):
        text_metrics.bleu(predictions, references, tokenize='words')


def test_bleu_without_sacrebleu(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sacrebleu.metrics.bleu', None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[eval\]'"):
        text_metrics.bleu(['a'], ['a'])


def test_exact_match():
    texts, wanted = ['a  b', 'A b', 'a', ''], ['a b', ['x', 'a b'], 'b', '']
    assert text_metrics.exact_match(texts, wanted) == 50
    assert text_metrics.exact_match(texts, wanted, lowercase=True) == 75


@pytest.mark.parametrize('references', [[], ['a'], ['a', []], 'ab'])
def test_what_does_not_pair_is_refused(references):
    for f in (text_metrics.token_f1, lambda p, r: text_metrics.rouge(p, r, 'L')):
        with pytest.raises(ValueError, match='reference'):
            f(['a', 'b'], references)
