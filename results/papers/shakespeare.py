"""nanoGPT's shakespeare-char, its CPU size; and its GPU size as `full`.

    python -m results.run shakespeare --config.data.path=tinyshakespeare.txt
    python -m results.run shakespeare --size=full        # on an accelerator

The text is downloaded where no path is given. Measured: the validation loss over the whole last
tenth of the text; of the CPU size the last one, of the GPU size the best, as nanoGPT does.
"""

from results.paper import Arm, Number, Paper

CPU, FULL = 'cpu', 'full'
TOLERANCE = 0.03  # nats: nanoGPT draws 200 random batches for its number, and its seeds spread too
PUBLISHED = {
    CPU: (1.88, '1.88 after 2,000 steps'),
    FULL: (1.4697, '1.4697, the best of 5,000 steps'),
}


def measure(runs):
    size = runs[0].arm
    aim, published = PUBLISHED[size]
    values = [run.best() if size == FULL else run.last('loss') for run in runs]
    what = 'validation loss, nats a character'
    return [Number(what, values, published, most=aim + TOLERANCE)]


def draw(figure, runs):
    axes = figure.subplots()
    for run in runs:
        colour = f'C{run.seed}'
        axes.plot(*zip(*run.curve('loss', 'train')), color=colour, lw=0.8, alpha=0.5)
        label = f'seed {run.seed}: {run.last("loss"):.4f}'
        axes.plot(*zip(*run.curve('loss')), marker='o', color=colour, label=label)
    axes.axhline(PUBLISHED[runs[0].arm][0], color='black', ls='--', label='nanoGPT')
    axes.set(xlabel='step', ylabel='loss, nats a character', title='training (thin), validation')
    axes.set_ylim(top=3)
    axes.legend()


PAPER = Paper(
    name='shakespeare',
    title="nanoGPT's shakespeare-char",
    claim='A character model of tiny Shakespeare with 4 layers of width 128 reaches a validation '
    'loss of 1.88 in 2,000 steps; one with 6 layers of width 384 reaches 1.4697 in 5,000.',
    source='https://github.com/karpathy/nanoGPT',
    sizes={
        '': [Arm(CPU, 'configs/shakespeare_char.py:cpu')],
        FULL: [Arm(FULL, 'configs/shakespeare_char.py')],
    },
    measure=measure,
    draw=draw,
    seeds=3,
    remark='nanoGPT estimates its loss on 200 random batches, ours is over every character of the '
    'split; a loss of at most 0.03 above the published one counts as reproduced.',
)
