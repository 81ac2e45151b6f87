"""An experiment of two arms, and runs of it that nobody trained."""

import functools

from results import record, settings
from results.paper import Arm, Number, Paper, Run
from transformer import cli

CONFIG = 'configs/quickstart.py'
MADE = {'commit': 'abc123', 'machine': 'a processor, 2 cores', 'versions': 'jax 1', 'date': 'today'}


def measure(runs):
    losses = [run.last('loss') for run in runs if run.arm == 'two']
    return [Number('loss | nats', losses, '1.0', most=1.5), Number('steps', [runs[0].last('step')])]


def draw(figure, runs):
    axes = figure.subplots()
    for run in runs:
        axes.plot(*zip(*run.curve('loss', 'train')))


PAPER = Paper(
    name='made',
    title='Made up',
    claim='Two is better.',
    source='https://arxiv.org/abs/1706.03762',
    sizes={'': [Arm('one', CONFIG), Arm('two', CONFIG, {'context': 32})]},
    measure=measure,
    draw=draw,
    seeds=2,
    points=50,
)


@functools.cache
def trained_with():
    return settings.kept(cli.load_config(CONFIG))


def run(arm='one', seed=0, loss=1.25, steps=400):
    train = [
        {'step': n, 'split': 'train', 'loss': 4 / n + loss, 'grad_norm': 1.0}
        for n in range(1, steps + 1)
    ]
    held = [{'step': n, 'split': 'validation', 'loss': loss / 3} for n in range(100, steps, 100)]
    held.append({'step': steps, 'split': 'validation', 'loss': loss, 'note': 'nan'})
    records = sorted(train + held, key=lambda r: (r['step'], r['split']))
    config = trained_with() | {'context': 32} if arm == 'two' else trained_with()
    return Run(arm, seed, records, {'test': {'bleu': 1 / 3}}, 1000, 60.0, config)


def result(paper=PAPER, **fields):
    """A record of all arms and seeds."""
    runs = [run(arm.name, seed, **fields) for seed in range(paper.seeds) for arm in paper.sizes['']]
    return record.make(paper, '', 'python -m results.run made', [(r, MADE) for r in runs])
