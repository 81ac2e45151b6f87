"""Every experiment can be started, and says of made-up runs what is true of them."""

import json
from pathlib import Path

import pytest

from results import papers, picture, plan
from results.paper import Run
from results.papers import digits, experts, heads, shakespeare, translation
from transformer import cli
from transformer.experiment import Experiment

SIZES = [(name, size) for name in papers.PAPERS for size in papers.load(name).sizes]


@pytest.mark.parametrize(('name', 'size'), SIZES)
def test_every_arm_is_a_config_that_can_be(name, size, tmp_path):
    paper = papers.load(name)
    assert paper.name == name and paper.source.startswith('https://') and paper.claim
    overrides = {plan.PATH: 'here'} if paper.data else {}
    for training in plan.trainings(paper, size, 1, tmp_path, overrides):
        config = cli.load_config(training.arm.config)
        fields = {k: v for k, v in training.changes.items() if k != 'init'}
        cli.override(config, fields)
        if not training.arm.start:  # or its model is the other's
            Experiment.from_config(config)
        for command in training.arm.after.values():
            script = training.after(command)[1]
            assert script in ('-m', '-c') or Path(plan.ROOT, script).is_file()


def test_they_have_another_folder_each():
    stems = [plan.stem(name, size) for name, size in SIZES]
    assert len(set(stems)) == len(stems)


def runs(arms, seeds=2, after=None, **values):
    """Runs with two evaluations, of which the last one is of these values, by arm."""
    made = []
    for seed in range(seeds):
        for i, arm in enumerate(arms):
            here = {name: of_arms[i] + 0.001 * seed for name, of_arms in values.items()}
            records = [{'step': 25, 'split': 'train', 'loss': 3.0}]
            records += [{'step': n, 'split': 'validation', 'loss': 2.0} | here for n in (25, 50)]
            found = {'test': {name: of_arms[i] for name, of_arms in after.items()}} if after else {}
            made.append(Run(arm, seed, records, found, 1000, 1.0))
    return made


def verdicts(paper, made, tmp_path):
    """By what it is, whether a number holds; the picture is drawn too."""
    picture.write(paper, made, tmp_path / 'drawn.png')
    assert 1000 < (tmp_path / 'drawn.png').stat().st_size < 150_000
    numbers = paper.measure(made)
    json.dumps([list(map(float, n.values)) for n in numbers])
    return {n.what: n.holds for n in numbers}


def test_shakespeare(tmp_path):
    for arm, good, bad in (('cpu', 1.905, 1.92), ('full', 1.47, 1.51)):
        for loss, holds in ((good, True), (bad, False)):
            made = runs([arm], loss=[loss])
            found = verdicts(shakespeare.PAPER, made, tmp_path)
            assert list(found.values()) == [holds]


def test_heads(tmp_path):
    arms = [arm.name for arm in heads.PAPER.sizes['']]
    assert arms == ['1 head', '4 heads', '8 heads', '16 heads', 'learned positions']
    tests = {'bleu': [24.0, 25.0, 25.5, 24.5, 25.1]}
    found = verdicts(heads.PAPER, runs(arms, after=tests, loss=[2.3, 2.0, 2.0, 2.1, 2.0]), tmp_path)
    judged = {what: holds for what, holds in found.items() if holds is not None}
    assert len(judged) == 4 and all(judged.values())
    tests = {'bleu': [26.0, 25.0, 25.5, 24.5, 23.0]}
    found = verdicts(heads.PAPER, runs(arms, after=tests, loss=[1.9, 2.0, 2.0, 1.9, 2.0]), tmp_path)
    assert not any(holds for holds in found.values() if holds is not None)


def test_translation(tmp_path):
    for size, good, bad in (('', 35.0, 34.0), ('full', 36.6, 36.0)):
        arms = [arm.name for arm in translation.PAPER.sizes[size]]
        for bleu, holds in ((good, True), (bad, False)):
            tests = {'bleu': [bleu] * 2, 'bleu_intl': [bleu] * 2, 'perplexity': [7.0] * 2}
            found = verdicts(translation.PAPER, runs(arms, after=tests), tmp_path)
            assert all(found[f'{arm}: BLEU, 13a'] == holds for arm in arms)
    tests['bleu'] = [36.6, 35.0]
    found = verdicts(translation.PAPER, runs(arms, after=tests), tmp_path)
    assert found['sinusoids less learned positions, BLEU'] is False


def test_digits(tmp_path):
    arms = list(digits.CHANGES)
    good = runs(arms, loss=[1.0, 1.1, 2.0, 2.0001], accuracy=[0.98, 0.97, 0.6, 0.6])
    judged = [h for h in verdicts(digits.PAPER, good, tmp_path).values() if h is not None]
    assert judged == [True, True, True]
    bad = runs(arms, loss=[1.0, 1.1, 2.0, 2.1], accuracy=[0.6, 0.5, 0.6, 0.6])
    judged = [h for h in verdicts(digits.PAPER, bad, tmp_path).values() if h is not None]
    assert judged == [False, False, False]


def test_experts(tmp_path):
    arms = [arm.name for arm in experts.PAPER.sizes['']]
    for bits, holds in (([2.0, 1.98, 1.95], True), ([2.0, 1.999, 2.01], False)):
        found = verdicts(experts.PAPER, runs(arms, bits_per_byte=bits), tmp_path)
        assert [h for h in found.values() if h is not None] == [holds, holds]
