"""Induction heads: two layers of attention continue a pattern that was seen once; one layer cannot.

Olsson et al. 2022, https://arxiv.org/abs/2209.11895: attention-only models of one layer never form
induction heads; those of two do so all at once, and what they cannot foresee drops suddenly. Here
rows of 64 tokens repeat a random segment, whose length is another for every row.

    python -m results.run induction
    python -m results.papers.induction runs/papers/induction/two-0

Measured: the share of the repeated tokens that are predicted, and the prefix-matching score of the
best head: how much of its attention a token that comes again gives to what followed it before. The
second command prints that score of a run, and the head's weights on one row, as JSON.
"""

import json
import sys

import numpy as np

from results.paper import Arm, Number, Paper

LAYERS = {'one': 'one layer', 'two': 'two layers'}
LOW, HIGH = 0.3, 0.9  # accuracies between which the jump is
ROWS = 32  # whose attention is looked at


def measure(runs):
    """Accuracies, the jump and the head."""
    one, two = ([run for run in runs if run.arm == arm] for arm in LAYERS)
    accuracy = 'accuracy on repeated tokens'
    matching = 'prefix-matching score of the best head'
    return [
        Number(
            f'one layer, {accuracy}',
            [run.last('accuracy') for run in one],
            'about 0.12 (a reference implementation)',
            most=0.25,
            source='',
        ),
        Number(
            f'two layers, {accuracy}',
            [run.last('accuracy') for run in two],
            'about 1 (a reference implementation)',
            0.95,
            source='',
        ),
        Number(
            f'two layers, share of the training between accuracy {LOW} and {HIGH}',
            [jump(run) for run in two],
            'a sudden jump',
            most=0.25,
        ),
        Number(f'one layer, {matching}', [run.after['head']['score'] for run in one], most=0.2),
        Number(f'two layers, {matching}', [run.after['head']['score'] for run in two], least=0.5),
    ]


def jump(run):
    """The share of the training between the two accuracies; all of it where there is no jump."""
    curve = run.curve('accuracy')
    low, high = (next((s for s, value in curve if value >= a), None) for a in (LOW, HIGH))
    return 1.0 if high is None else (high - low) / curve[-1][0]


def draw(figure, runs):
    """Accuracy against steps, and the attention of the best head on one row."""
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    arms = list(LAYERS)
    for arm in arms:
        for i, run in enumerate(run for run in runs if run.arm == arm):
            label = '' if i else LAYERS[arm]
            left.plot(*zip(*run.curve('accuracy')), color=f'C{arms.index(arm)}', label=label)
    left.set_xlabel('steps')
    left.set_ylabel('accuracy on repeated tokens')
    left.set_ylim(0, 1.02)
    left.legend()
    head = next(run for run in runs if run.arm == 'two').after['head']
    right.imshow(head['weights'], cmap='Blues', vmin=0, vmax=1)
    right.grid(visible=False)
    right.set_title(f'layer {head["layer"]}, head {head["head"]}: period {head["period"]}')
    right.set_xlabel('attends to')
    right.set_ylabel('token')


def period_of(inputs_T):
    """After how many tokens a row begins again."""
    return int(np.flatnonzero(inputs_T[1:] == inputs_T[0])[0]) + 1


def of_run(workdir):
    """`best_of` a run."""
    from data import load
    from transformer import inspect

    subject = inspect.of_run(workdir, 'latest')
    rows = load.load(subject.experiment).feed.validation.rows
    inputs_BT = np.stack([rows.at(place)['inputs'] for place in range(ROWS)])
    return best_of(subject.model, subject.params, inputs_BT)


def best_of(model, params, inputs_BT):
    """The head with the highest prefix-matching score, with its weights on the first row."""
    from transformer import inspect

    followed = [followed_by(inputs_T) for inputs_T in inputs_BT]
    best = {'score': -1.0}
    for found in inspect.attention(model, params, inputs_BT):
        for head in range(found.weights_BNTS.shape[1]):
            weights_BTS = found.weights_BNTS[:, head]
            scores = [
                float((w_TS * f_TS).sum(1)[f_TS.any(1)].mean())
                for w_TS, f_TS in zip(weights_BTS, followed)
            ]
            score = float(np.mean(scores))
            if score > best['score']:
                best = {'score': score, 'layer': found.layer, 'head': head}
                best['weights'] = np.round(weights_BTS[0], 3).tolist()
    return best | {'period': period_of(inputs_BT[0])}


def followed_by(inputs_T):
    """Of token t, whether token s followed the same token before, [T, S]."""
    same_TS = inputs_T[:, None] == np.roll(inputs_T, 1)[None]
    same_TS[:, 0] = False
    return np.tril(same_TS)


PAPER = Paper(
    name='induction',
    title='Induction heads',
    claim='Attention-only models of two layers learn to continue repeated sequences, all at once '
    'and by heads that look for what followed the same token before; those of one layer do not.',
    source='https://arxiv.org/abs/2209.11895',
    sizes={
        '': [
            Arm(
                arm,
                f'configs/induction.py:{arm}',
                after={'head': '-m results.papers.induction {workdir}'},
            )
            for arm in LAYERS
        ]
    },
    measure=measure,
    draw=draw,
    seeds=3,
    remark='Made-up rows, not text: only what repeats is learnt and counted. All tokens of a '
    'segment differ, so that every one of them can be foreseen.',
)

if __name__ == '__main__':
    print(json.dumps(of_run(sys.argv[1])))
