"""Associative recall: attention looks values up at any width; a state has to have room for them.

Arora et al. 2023, https://arxiv.org/abs/2312.04927, section 4 and figure 2: rows tell keys with
their values (MQAR), then ask for them. Attention solves it at every width; models whose state has
a fixed size need a width that grows with the number of pairs. Here 4 pairs in rows of 32 tokens
and a vocabulary of 64, two layers of each mixer without MLPs, three widths, 800 steps.

    python -m results.run recall

Measured: the share of the queries that are answered, in rows that were not trained on.
"""

from results.paper import Arm, Number, Paper

MIXERS = {
    'attention': 'attention',
    'window': 'window attention',
    'linear': 'linear attention',
    'retnet': 'RetNet',
    'mamba': 'Mamba',
    'hybrid': 'Mamba, then attention',
}
STATES = ('linear', 'retnet', 'mamba')  # whose memory is of a fixed size
WIDTHS = (32, 64, 96)
FULL = (64, 128, 256, 512)


def arms(widths, size=''):
    return [
        Arm(f'{mixer}-{width}', f'configs/recall.py:{mixer}{size}', {'model.width': width})
        for mixer in MIXERS
        for width in widths
    ]


def accuracies(runs):
    """By mixer and width, one a seed."""
    found = {}
    for run in runs:
        mixer, width = run.arm.rsplit('-', 1)
        found.setdefault((mixer, int(width)), []).append(run.last('accuracy'))
    return found


def measure(runs):
    """Accuracies, and what the claim says of them."""
    found = accuracies(runs)
    widths = sorted({width for _, width in found})
    numbers = []
    for (mixer, width), values in found.items():
        bounds = {'least': 0.95} if mixer == 'attention' else {}
        numbers.append(Number(f'{MIXERS[mixer]}, width {width}: accuracy', values, **bounds))
    for mixer in STATES:
        narrow, wide = (found[mixer, width] for width in (widths[0], widths[-1]))
        what = f'{MIXERS[mixer]}: gain of width {widths[-1]} over {widths[0]}'
        numbers.append(Number(what, [b - a for a, b in zip(narrow, wide)], 'more', 0.1))
    return numbers


def draw(figure, runs):
    """Accuracy against width."""
    axes, found = figure.subplots(), accuracies(runs)
    widths = sorted({width for _, width in found})
    for i, (mixer, name) in enumerate(MIXERS.items()):
        means = [sum(found[mixer, width]) / len(found[mixer, width]) for width in widths]
        axes.plot(widths, means, 'o-', color=f'C{i}', label=name)
    axes.set_xscale('log', base=2)
    axes.set_xticks(widths, widths)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel('width')
    axes.set_ylabel('accuracy')
    axes.legend()


PAPER = Paper(
    name='recall',
    title='Associative recall (MQAR)',
    claim='Attention recalls values by their keys at every width; models with a state of fixed '
    'size need a width that grows with the number of pairs.',
    source='https://arxiv.org/abs/2312.04927',
    sizes={'': arms(WIDTHS), 'full': arms(FULL, '-full')},
    measure=measure,
    draw=draw,
    remark='The narrowest models of the paper have width 64. An answer with any of the values told '
    'is right in a quarter of the cases. In the small size all mixers have two layers and one '
    'learning rate, and Mamba, which is not in the paper, a state of 4 numbers a channel: it '
    'learns slowly here. Tried at width 64 or 66, one random start each: rates of 0.001 and 0.01 '
    '(26% and 29%), 16 numbers a channel with twice the channels (34%). Attention of width 16 '
    'answers 27%.',
)
