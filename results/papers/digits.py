"""A Vision Transformer with and without positions, on patches in place and shuffled.

    pip install -e '.[digits]'
    python -m results.run digits

scikit-learn's 8 x 8 digits in patches of 2 x 2, by configs/vit_digits.py without dropout. Shuffled:
one permutation of the 16 patches for all images (`config.model.shuffle`). Measured: the accuracy on
179 images that are held out.
"""

from results.paired import gaps, of
from results.paper import Arm, Number, Paper
from results.picture import colours

CONFIG = 'configs/vit_digits.py'
COMMON = {
    'steps': 800,
    'eval_every': 25,
    'checkpoint_every': 400,
    'log_every': 25,
    'model.dropout': 0.0,
}
PLAIN, SHUFFLED = 'positions', 'positions, shuffled'
NONE, NONE_SHUFFLED = 'no positions', 'no positions, shuffled'
CHANGES = {
    PLAIN: {},
    SHUFFLED: {'model.shuffle': 1},
    NONE: {'model.positions': 'none'},
    NONE_SHUFFLED: {'model.positions': 'none', 'model.shuffle': 1},
}


def percent(run):
    return 100 * run.last('accuracy')


def first(run):
    """The loss of the first evaluation."""
    return run.curve('loss')[0][1]


def measure(runs):
    numbers = [Number(f'{a}: accuracy, %', [percent(r) for r in of(runs, a)]) for a in CHANGES]
    published = 'ImageNet, 5 shots: 64.2 with, 61.4 without (table 8)'
    gained = gaps(runs, PLAIN, NONE, percent)
    numbers.append(Number('positions less none, points', gained, published, least=1.0))
    moved, what = gaps(runs, PLAIN, SHUFFLED, percent), 'in place less shuffled, points'
    numbers.append(Number(f'positions: {what}', moved, 'nothing', least=-1.5, most=1.5))
    apart = [abs(gap) for gap in gaps(runs, NONE, NONE_SHUFFLED, first)]
    what = 'no positions: loss in place against shuffled, first evaluation'
    return [*numbers, Number(what, apart, 'nothing: the order is not seen', most=1e-3)]


def draw(figure, runs):
    axes = figure.subplots()
    colour = colours(list(CHANGES))
    for run in runs:
        points = [(step, 100 * accuracy) for step, accuracy in run.curve('accuracy')]
        label = run.arm if run.seed == 0 else None
        style = '--' if 'shuffled' in run.arm else '-'
        axes.plot(*zip(*points), style, color=colour[run.arm], label=label)
    axes.set(xlabel='step', ylabel='accuracy on held-out digits, %', ylim=(50, 100))
    axes.legend()


PAPER = Paper(
    name='digits',
    title='ViT: positions and shuffled patches',
    claim='Without position embeddings a ViT is a bag of patches and does worse; with learned ones '
    'the order of patches is found from the images, whatever it is.',
    source='https://arxiv.org/abs/2010.11929',
    sizes={'': [Arm(arm, CONFIG, COMMON | changes) for arm, changes in CHANGES.items()]},
    measure=measure,
    draw=draw,
    seeds=3,
    remark='1,618 digits of 8 x 8 pixels instead of ImageNet; 800 steps without dropout, fewer '
    'than configs/vit_digits.py has. Without positions a permutation of the patches changes '
    'nothing but the order of sums: the first evaluation, after 25 steps, is compared, since '
    'rounding grows as training goes on.',
)
