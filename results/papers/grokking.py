"""Grokking: a network first learns its examples by heart, and much later what they have in common.

Power et al. 2022, https://arxiv.org/abs/2201.02177; the network is that of Nanda et al. 2023,
https://arxiv.org/abs/2301.05217: one layer adds modulo 113, from a share of all 12,769 sums, every
step sees all of them.

    python -m results.run grokking

Measured: the step at which the loss first is below 0.01, on the sums that are trained on and on the
others. A run that does not come there counts with the number of its steps, which never reproduces
what was published, and then there is no ratio.
"""

from results.paper import Arm, Number, Paper

BELOW = 0.01  # nats
# Of the authors' saved curves, one random start: epochs until training and test loss are below.
PUBLISHED = {'0.5': (272, 1109), '0.4': (268, 3324)}
FULL = ('0.3', '0.4', '0.5', '0.6', '0.7', '0.8', '0.9')
PARTS = {'train': 'trained on', 'validation': 'held out'}


def arms(shares):
    return [Arm(share, f'configs/grokking.py:{share}') for share in shares]


def first_below(run, split):
    """The first step whose loss is below `BELOW`, or None."""
    return next((step for step, loss in run.curve('loss', split) if loss < BELOW), None)


def last_step(run, split):
    return run.curve('loss', split)[-1][0]


def measure(runs):
    """Steps until each part is known, and how much longer the second takes."""
    numbers, delays = [], {}
    for share in dict.fromkeys(run.arm for run in runs):
        of_arm = [run for run in runs if run.arm == share]
        steps = {split: [first_below(run, split) for run in of_arm] for split in PARTS}
        for split, found in steps.items():
            what = f'{share} of the sums: steps until the loss on those {PARTS[split]} is below'
            numbers.append(_number(f'{what} {BELOW}', found, of_arm, split))
        if None not in (*steps['train'], *steps['validation']):
            delays[share] = [late / early for early, late in zip(*steps.values())]
            numbers.append(Number(f'{share} of the sums: ratio of the two', delays[share]))
    if {'0.4', '0.5'} <= set(delays):
        ratios = [few / more for few, more in zip(delays['0.4'], delays['0.5'])]
        what = 'ratio at 0.4 over ratio at 0.5: how much fewer sums put it off'
        numbers.append(Number(what, ratios, '3.0 (12.4 over 4.1)', 1.3))
    return numbers


def _number(what, found, runs, split):
    ends = [last_step(run, split) for run in runs]
    values = [end if step is None else step for step, end in zip(found, ends)]
    share = runs[0].arm
    if share not in PUBLISHED:
        return Number(what, values)
    told = PUBLISHED[share][split != 'train']
    # Learning by heart is smooth and much alike for all random starts; when it generalises is not.
    least, most = (0.7, 1.3) if split == 'train' else (0.4, 2.5)
    if None in found:  # a mean with an end of a run in it is not what was published
        least = most = 0.0
    return Number(what, values, f'{told:,} (the saved curve)', least * told, most * told)


def draw(figure, runs):
    """Loss against steps, of both parts."""
    axes = figure.subplots()
    shares = list(dict.fromkeys(run.arm for run in runs))
    shown = set()
    for run in runs:
        color = f'C{shares.index(run.arm)}'
        for split, style in (('train', '--'), ('validation', '-')):
            label = f'{run.arm} of the sums, {PARTS[split]}'
            axes.plot(
                *zip(*run.curve('loss', split)),
                style,
                color=color,
                label='' if label in shown else label,
            )
            shown.add(label)
    axes.axhline(BELOW, color='0.6', linewidth=0.8)
    axes.set_xscale('log')
    axes.set_yscale('log')
    axes.set_xlabel('steps')
    axes.set_ylabel('loss, nats')
    axes.legend()


PAPER = Paper(
    name='grokking',
    title='Grokking',
    claim='A network that adds modulo 113 knows its examples after some hundred steps, the sums '
    'that it has not seen long after; with fewer examples the first stays, the second comes later.',
    source='https://arxiv.org/abs/2301.05217',
    sizes={'': arms(PUBLISHED), 'full': arms(FULL)},
    measure=measure,
    draw=draw,
    seeds=3,
    remark='Losses are reckoned in float32, there in float64. Bounds: 30% for learning by heart, '
    'which is alike for all random starts; a factor of 2.5 for generalising, whose time is not.',
    keep=('loss',),
    points=4000,
)
