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
        ),
        Number(
            f'two layers, {accuracy}',
            [run.last('accuracy') for run in two],
            'about 1 (a reference implementation)',
            0.95,
        ),
        Number(
            f'two layers, share of the training between accuracy {LOW} and {HIGH}',
            [(first(run, HIGH) - first(run, LOW)) / run.curve('accuracy')[-1][0] for run in two],
            'a sudden jump',
            most=0.25,
        ),
        Number(f'one layer, {matching}', [run.after['head']['score'] for run in one], most=0.2),
        Number(f'two layers, {matching}', [run.after['head']['score'] for run in two], least=0.5),
    ]


def first(run, accuracy):
    """The first step that has this accuracy; the last step where none has."""
    curve = run.curve('accuracy')
    return next((step for step, value in curve if value >= accuracy), curve[-1][0])


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

    periods = [period_of(inputs_T) for inputs_T in inputs_BT]
    best = {'score': -1.0}
    for found in inspect.attention(model, params, inputs_BT):
        for head in range(found.weights_BNTS.shape[1]):
            weights_BTS = found.weights_BNTS[:, head]
            # Of token t, on what followed it a period ago.
            scores = [
                float(np.diagonal(w_TS, 1 - p)[1:].mean()) for w_TS, p in zip(weights_BTS, periods)
            ]
            score = float(np.mean(scores))
            if score > best['score']:
                best = {'score': score, 'layer': found.layer, 'head': head, 'period': periods[0]}
                best['weights'] = np.round(weights_BTS[0], 3).tolist()
    return best


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
