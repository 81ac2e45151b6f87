"""Numbers for predictions: classes, tags, answers, translations, summaries. On the host, no JAX.

A confusion matrix is an array [C, C] of counts: rows are the true classes, columns the predicted.
"""

import collections
import re
import string
from collections.abc import Callable, Sequence

import numpy as np

from transformer.errors import UserError


def accuracy(confusion: np.ndarray) -> float:
    """Share of examples with the right class, 0 to 1.

    Raises:
      ValueError: `confusion` is not a square matrix of counts, or is empty.
    """
    counts = _counts(confusion)
    return float(np.trace(counts) / counts.sum())


def binary_f1(confusion: np.ndarray, positive: int = 1) -> float:
    """F1 of one class, 0 to 1: 2 TP / (2 TP + FP + FN), 0 where the class is never seen or said.

    Raises:
      ValueError: as `accuracy`, or there is no class `positive`.
    """
    counts = _counts(confusion)
    _known(positive, counts)
    return float(_f1_of_each(counts)[positive])


def macro_f1(confusion: np.ndarray) -> float:
    """Mean of the F1 of all classes that are seen or said, 0 to 1.

    Raises:
      ValueError: as `accuracy`.
    """
    counts = _counts(confusion)
    return float(_f1_of_each(counts)[counts.sum(0) + counts.sum(1) > 0].mean())


def micro_f1(confusion: np.ndarray, outside: int) -> float:
    """F1 over all tags together but `outside`, 0 to 1; of tags, not of spans.

    A tag said for another one is wrong twice, as false and as missing; 'outside' said for 'outside'
    does not count. 0 where there are no other tags.

    Raises:
      ValueError: as `accuracy`, or there is no class `outside`.
    """
    counts = _counts(confusion)
    _known(outside, counts)
    right = np.trace(counts) - counts[outside, outside]
    said = counts.sum() - counts[:, outside].sum()
    true = counts.sum() - counts[outside].sum()
    return float(2 * right / (said + true)) if said + true else 0.0


def _counts(confusion) -> np.ndarray:
    counts = np.asarray(confusion, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f'confusion has shape {counts.shape}; accepted: [C, C]')
    if not (counts >= 0).all() or not counts.sum():
        raise ValueError('confusion holds no examples or a negative count; accepted: counts')
    return counts


def _known(index: int, counts: np.ndarray) -> None:
    if not 0 <= index < len(counts):
        raise ValueError(f'class {index} cannot be used; accepted: 0 to {len(counts) - 1}')


def _f1_of_each(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(0) + counts.sum(1)
    return 2 * np.diag(counts) / np.where(total, total, 1)


def token_f1(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> float:
    """Mean F1 of the words of each answer, 0 to 100, as SQuAD, https://arxiv.org/abs/1606.05250.

    Words are compared in lower case, without punctuation and without 'a', 'an' and 'the'. An answer
    with none left is right where the reference has none either.

    Args:
      references: one right answer for each prediction, or several, of which the best counts.

    Raises:
      ValueError: there are no predictions, as many references, or no answer to compare with.
    """
    return _mean_of_best(predictions, references, lambda p, r: _overlap(_answer(p), _answer(r)))


def exact_match(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], lowercase: bool = False
) -> float:
    """Share of the texts that are a reference, 0 to 100; white space and, if asked, case aside.

    Raises:
      ValueError: as `token_f1`.
    """

    def words(text: str) -> list[str]:
        return (text.lower() if lowercase else text).split()

    return _mean_of_best(predictions, references, lambda p, r: float(words(p) == words(r)))


_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def _answer(text: str) -> list[str]:
    plain = text.lower().translate(_NO_PUNCTUATION)
    return re.sub(r'\b(a|an|the)\b', ' ', plain).split()


def _overlap(prediction: list, reference: list) -> float:
    """F1 of two bags, 0 to 1; two empty ones are equal."""
    if not prediction or not reference:
        return float(prediction == reference)
    both = collections.Counter(prediction) & collections.Counter(reference)
    return _f1(both.total(), len(prediction), len(reference))


def _f1(right: int, said: int, true: int) -> float:
    return 2 * right / (said + true) if said + true else 0.0


def bleu(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    lowercase: bool = False,
    tokenize: str = '13a',
) -> tuple[float, str]:
    """BLEU of a corpus, 0 to 100, by sacrebleu, and the signature that says how it was counted.

    https://aclanthology.org/P02-1040, https://arxiv.org/abs/1804.08771

    Args:
      references: one for each prediction, or several (not the same number for all, if need be).
      tokenize: such as '13a', 'intl', 'zh', 'char', 'none'.

    Raises:
      UserError: sacrebleu is not installed, or knows no such `tokenize`.
      ValueError: as `token_f1`.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise UserError("BLEU needs sacrebleu: pip install -e '.[eval]'") from None
    if tokenize not in BLEU.TOKENIZERS:
        known = ', '.join(BLEU.TOKENIZERS)
        raise UserError(f'tokenize={tokenize!r} cannot be used; accepted: {known}')
    answers = _paired(predictions, references)
    most = max(map(len, answers))
    streams = [[a[i] if i < len(a) else None for a in answers] for i in range(most)]
    metric = BLEU(lowercase=lowercase, tokenize=tokenize)
    score = metric.corpus_score(list(predictions), streams).score
    return float(score), str(metric.get_signature())


def rouge(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], kind: str
) -> float:
    """Mean F-measure of ROUGE-1, -2 or -L, 0 to 100, https://aclanthology.org/W04-1013.

    Words are runs of a to z and 0 to 9 after lower-casing, not stemmed. ROUGE-L takes the whole
    text as one sequence. With several references the best counts.

    Args:
      kind: '1', '2' or 'L'.

    Raises:
      ValueError: another `kind`, or as `token_f1`.
    """
    if kind not in _ROUGE:
        raise ValueError(f'kind={kind!r} cannot be used; accepted: {", ".join(_ROUGE)}')
    return _mean_of_best(predictions, references, lambda p, r: _ROUGE[kind](_words(p), _words(r)))


def _words(text: str) -> list[str]:
    return re.findall('[a-z0-9]+', text.lower())


def _rouge_n(n: int, prediction: list[str], reference: list[str]) -> float:
    grams = [
        collections.Counter(zip(*(words[i:] for i in range(n))))
        for words in (prediction, reference)
    ]
    return _f1((grams[0] & grams[1]).total(), grams[0].total(), grams[1].total())


def _rouge_l(prediction: list[str], reference: list[str]) -> float:
    return _f1(_common(prediction, reference), len(prediction), len(reference))


def _common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            above = row[j]
            row[j] = diagonal + 1 if word == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]


_ROUGE = {
    '1': lambda p, r: _rouge_n(1, p, r),
    '2': lambda p, r: _rouge_n(2, p, r),
    'L': _rouge_l,
}


def _mean_of_best(
    predictions: Sequence[str], references: Sequence, score: Callable[[str, str], float]
) -> float:
    pairs = zip(predictions, _paired(predictions, references))
    return 100 * float(np.mean([max(score(p, r) for r in answers) for p, answers in pairs]))


def _paired(predictions: Sequence[str], references: Sequence) -> list[Sequence[str]]:
    """The right answers to each prediction, always as a list."""
    if isinstance(predictions, str) or isinstance(references, str):
        raise ValueError('predictions and references must be lists of texts, not one text')
    if not predictions or len(predictions) != len(references):
        raise ValueError(
            f'{len(predictions)} predictions and {len(references)} references cannot be compared; '
            'accepted: as many of both, at least one'
        )
    answers = [[r] if isinstance(r, str) else list(r) for r in references]
    if not all(answers):
        raise ValueError('a prediction has no reference; accepted: at least one for each')
    return answers
