"""Grouped and multi-query attention: a smaller cache, faster decoding, nearly equal quality.

Shazeer 2019, https://arxiv.org/abs/1911.02150, tables 1 and 3; Ainslie et al. 2023,
https://arxiv.org/abs/2305.13245. A decoder with eight query heads and eight, two or one set of keys
and values, with exactly as many parameters each, learns Python's standard library.

    python -m results.run grouped

Measured: the validation loss; the bytes of keys and values of eight texts of 2,048 tokens, computed
from the shapes of the cache; how fast these are written from their middle to their end, all at
once. Only the ratios of speeds mean something: the rest is the machine's.
"""

from results.paired import gaps, of
from results.paper import Arm, Number, Paper

SETS = {'multi_head': 8, 'grouped': 2, 'multi_query': 1}  # of keys and values
COMMAND = 'eval.py --workdir={workdir} --config.context=2048 --decode=8 --json'
SPEED, CACHE = 'decode/tokens_per_second', 'decode/cache_bytes'
COSTS = {'grouped': '', 'multi_query': '0.015 (WMT14 English to German)'}
FASTER = {'grouped': '', 'multi_query': '12 (3.8 for 46 microseconds a token, TPUv2)'}


def measure(runs):
    """The loss of all heads' own keys and values; what sharing costs and gives, seed by seed."""
    losses = [run.last('loss') for run in of(runs, 'multi_head')]
    numbers = [Number('8 sets of keys and values: validation loss, nats a token', losses)]
    for arm, published in COSTS.items():
        name = 'grouped, 2 sets' if arm == 'grouped' else 'multi-query, 1 set'
        costs = gaps(runs, arm, 'multi_head', lambda run: run.last('loss'))
        numbers.append(Number(f'{name}: loss above that', costs, published, most=0.03))
        share = SETS[arm] / SETS['multi_head']
        cache = ratios(runs, arm, CACHE)
        numbers.append(Number(f'{name}: share of the cache', cache, str(share), share, share))
        speed = ratios(runs, arm, SPEED)
        numbers.append(Number(f'{name}: times as many tokens a second', speed, FASTER[arm], 1.2))
    return numbers


def ratios(runs, arm, name):
    """Of what was measured of an arm and of 'multi_head', seed by seed."""
    pairs = zip(of(runs, arm), of(runs, 'multi_head'), strict=True)
    return [some.after['decode'][name] / whole.after['decode'][name] for some, whole in pairs]


def draw(figure, runs):
    """Losses, the cache and the speed by arm; a dot a seed."""
    parts = figure.subplots(1, 3)
    found = (
        ('validation loss, nats a token', lambda run: run.last('loss')),
        ('cache of 8 x 2,048 tokens, MB', lambda run: run.after['decode'][CACHE] / 1e6),
        ('tokens a second', lambda run: run.after['decode'][SPEED]),
    )
    for axes, (title, value) in zip(parts, found):
        for place, arm in enumerate(SETS):
            values = [value(run) for run in of(runs, arm)]
            axes.plot([place] * len(values), values, 'o', color=f'C{place}')
        axes.set_xticks(range(len(SETS)), SETS.values())
        axes.set(title=title, xlabel='sets of keys and values', xlim=(-0.5, len(SETS) - 0.5))
    for axes in parts[1:]:
        axes.set_ylim(bottom=0)


PAPER = Paper(
    name='grouped',
    title='Grouped and multi-query attention',
    claim='Query heads that share keys and values make the cache smaller in proportion and '
    'decoding faster, at nearly the same quality.',
    source='https://arxiv.org/abs/1911.02150, https://arxiv.org/abs/2305.13245',
    sizes={
        '': [Arm(arm, f'configs/grouped.py:{arm}', after={'decode': COMMAND}) for arm in SETS],
    },
    measure=measure,
    draw=draw,
    seeds=3,
    remark='Speed is of eight texts at once on the machine of the run, where it counts how much of '
    'a step is reading the cache; the paper decodes 1,024 at once on a TPU.',
)
