"""Length extrapolation: only ALiBi reads rows that are longer than those it was trained on.

Press, Smith and Lewis 2021, https://arxiv.org/abs/2108.12409, figure 1: perplexity on WikiText-103
of models trained on rows of 512 and of 1,024 tokens, on longer and longer rows. Here a model of
0.8 M parameters is trained on rows of 64 characters of Shakespeare, with each of four ways to know
places, and the whole validation text is cut into rows of 64, 128, 256 and 512.

    python -m results.run extrapolation

Measured: the loss of every validation character, on rows of each length.
"""

from results.paired import of
from results.paper import Arm, Number, Paper

LENGTHS = (64, 128, 256, 512)
POSITIONS = {'alibi': 'ALiBi', 'rope': 'rotary', 'sinusoidal': 'sinusoidal', 'none': 'none'}
# At 64 and at 512 characters, of another implementation, one random start.
REFERENCE = {
    'alibi': (1.71, 1.71),
    'rope': (1.65, 3.7),
    'sinusoidal': (1.73, 4.0),
    'none': (1.89, 3.1),
}


def arms():
    command = 'eval.py --workdir={{workdir}} --config.context={} --parts=4 --json'
    after = {str(length): command.format(length) for length in LENGTHS}
    return [Arm(name, f'configs/extrapolation.py:{name}', after=after) for name in POSITIONS]


def measure(runs):
    """At the trained length, and by how much the loss is higher on the longest rows."""
    numbers = []
    for arm, name in POSITIONS.items():
        short, long = (
            [run.after[str(length)]['loss'] for run in of(runs, arm)]
            for length in (LENGTHS[0], LENGTHS[-1])
        )
        first, last = REFERENCE[arm]
        numbers.append(
            Number(
                f'{name}, rows of {LENGTHS[0]}, nats a character',
                short,
                f'{first} (a reference implementation)',
                first - 0.1,
                first + 0.1,
                source='',
            )
        )
        bound = {'most': 0.03} if arm == 'alibi' else {'least': 0.8}
        numbers.append(
            Number(
                f'{name}, rise from rows of {LENGTHS[0]} to {LENGTHS[-1]}',
                [b - a for a, b in zip(short, long)],
                f'{last - first:.1f} (a reference implementation)',
                **bound,
                source='',
            )
        )
    return numbers


def draw(figure, runs):
    """Loss against the length of rows."""
    axes = figure.subplots()
    for arm, name in POSITIONS.items():
        for i, run in enumerate(of(runs, arm)):
            losses = [run.after[str(length)]['loss'] for length in LENGTHS]
            color = f'C{list(POSITIONS).index(arm)}'
            axes.plot(LENGTHS, losses, 'o-', color=color, label='' if i else name)
    axes.set_xscale('log', base=2)
    axes.set_xticks(LENGTHS, LENGTHS)
    axes.set_xlabel('characters a row (trained on 64)')
    axes.set_ylabel('validation loss, nats a character')
    axes.legend()


PAPER = Paper(
    name='extrapolation',
    title='Length extrapolation',
    claim='With ALiBi a model reads rows longer than those it was trained on with no loss of '
    'quality; with sinusoids and rotary positions it fails.',
    source='https://arxiv.org/abs/2108.12409',
    sizes={'': arms()},
    measure=measure,
    draw=draw,
    seeds=3,
    remark='Rows of 64 characters of tiny Shakespeare instead of 512 tokens of WikiText-103. '
    'The paper has no model without positions.',
)
