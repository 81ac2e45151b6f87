"""Switch: the loss at equal steps and equal FLOPs a token, with 1, 4 and 16 experts.

    python -m results.run experts

Decoders of configs/switch.py on the Python interpreter's own library: every other MLP is replaced
by experts, of which each token uses one. Measured: validation loss in bits per byte.
"""

from results.paired import gaps, of
from results.paper import Arm, Number, Paper

EXPERTS = (1, 4, 16)
PUBLISHED = 'the loss falls (figure 1)'
FALL = 0.005  # bits per byte, at least


def name(experts):
    return '1 expert' if experts == 1 else f'{experts} experts'


def bits(run):
    return run.last('bits_per_byte')


def measure(runs):
    numbers = [
        Number(f'{name(e)}: bits per byte', [bits(run) for run in of(runs, name(e))])
        for e in EXPERTS
    ]
    for few, more in zip(map(name, EXPERTS), map(name, EXPERTS[1:])):
        falls = gaps(runs, few, more, bits)
        what = f'{few} less {more}, bits per byte'
        numbers.append(Number(what, falls, PUBLISHED, least=FALL))
    return numbers


def draw(figure, runs):
    left, right = figure.subplots(1, 2)
    for i, experts in enumerate(EXPERTS):
        members = of(runs, name(experts))
        for run in members:
            label = f'{run.arm}, {run.parameters / 1e6:.1f} M' if run is members[0] else None
            left.plot(*zip(*run.curve('bits_per_byte')), 'o-', color=f'C{i}', label=label)
        right.plot([experts] * len(members), [bits(r) for r in members], 'o', color=f'C{i}')
    left.set(xlabel='step', ylabel='validation, bits per byte')
    left.legend()
    right.set_xscale('log', base=2)
    right.set_xticks(EXPERTS, [str(experts) for experts in EXPERTS])
    right.set(xlabel='experts, one of which works on a token', ylabel='at the last step')


def arms(changes):
    """One expert is the dense model."""
    dense = Arm(name(1), 'configs/switch.py:dense', changes)
    rest = [Arm(name(e), 'configs/switch.py', changes | {'model.experts': e}) for e in EXPERTS[1:]]
    return [dense, *rest]


LARGE = {
    'model.width': 512,
    'model.depth': 8,
    'model.heads': 8,
    'batch_size': 64,
    'data.vocab': 8192,
}

PAPER = Paper(
    name='experts',
    title='Switch: more experts, equal work',
    claim='At equal steps and equal FLOPs a token, the loss falls as experts are added.',
    source='https://arxiv.org/abs/2101.03961',
    sizes={
        '': arms({'steps': 400, 'eval_every': 100}),
        'full': arms(LARGE),
    },
    measure=measure,
    draw=draw,
    seeds=3,
    remark='Decoders of 1 M parameters besides the experts, in place of T5. An expert takes at '
    'most 1.25 times its even share of the tokens; a fall of at least 0.005 bits per byte counts.',
)
