"""Scaling laws: loss falls as a power of size; the best size for a budget grows as a power of it.

Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, equation 1.1; Hoffmann et al. 2022,
https://arxiv.org/abs/2203.15556, sections 3.2 and 3.3.

    python -m results.run scaling
    python -m results.run scaling --size=full --config.data.path=TEXTS      # on an accelerator

Six models of 24,576 to 2,654,208 parameters besides embeddings and norms read the same 2.05 million
tokens of Python's standard library once. Measured: the last validation loss of each; the exponent
of L = (N_c / N)^alpha and of L = E + A N^-alpha, with intervals from the bootstrap over sizes and
seeds. `full`: five sizes for each of four budgets of FLOPs; a parabola in log N through the losses
of each gives the best size; its exponent in the budget, with its interval.
"""

import numpy as np

from configs import scaling
from results import fits
from results.paper import Arm, Number, Paper

HOFFMANN = 'https://arxiv.org/abs/2203.15556'
SMALL = [size for size in scaling.SIZES if size]
LARGE = list(scaling.ISOFLOP)
# FLOPs, and the sizes around the best one by the paper's 20 tokens a parameter.
BUDGETS = {'3e15': LARGE[0:5], '1e16': LARGE[1:6], '3e16': LARGE[2:7], '1e17': LARGE[3:8]}


def budget_arms():
    """Each size of each budget, with the steps that use it up."""
    return [
        Arm(f'{budget} {size}', f'configs/scaling.py:{size}', {'steps': scaling.steps(size, flops)})
        for budget, sizes in BUDGETS.items()
        for flops in (float(budget),)
        for size in sizes
    ]


def measure(runs):
    """The laws of a fixed text, or of fixed budgets, whichever was trained."""
    return fixed_text(runs) if runs[0].arm in SMALL else fixed_budgets(runs)


def fixed_text(runs):
    """Losses, and the exponents of loss in size."""
    numbers = [
        Number(
            f'validation loss of {scaling.matrices(size):,} parameters, nats a token',
            [run.last('loss') for run in runs if run.arm == size],
        )
        for size in SMALL
    ]
    points = by_arm(runs, lambda run: (scaling.matrices(run.arm), run.last('loss')))
    straight = fits.straightness(*np.concatenate(points).T)
    return [
        *numbers,
        *with_interval(
            'alpha of L = (N_c / N)^alpha', simple, points, '0.076, data no limit', 0.04, 0.12
        ),
        Number('R^2 of log L by log N', [straight], 'a straight line', 0.95),
        *with_interval(
            'alpha of L = E + A N^-alpha', offset, points, '0.34, data no limit', source=HOFFMANN
        ),
    ]


def fixed_budgets(runs):
    """The best sizes, and the exponent of the best size in the budget."""
    points = by_arm(runs, lambda run: (float(run.arm.split()[0]), run.parameters, run.last('loss')))
    best = best_sizes(np.concatenate(points))
    numbers = [
        Number(f'best size for {budget:.0e} FLOPs, million parameters', [size / 1e6])
        for budget, size in best.items()
    ]
    published = '0.49 (0.462 to 0.534)'
    exponent = 'exponent of the best size in the budget'
    return [*numbers, *with_interval(exponent, optimal, points, published, 0.4, 0.6, HOFFMANN)]


def by_arm(runs, values):
    """The `values` of the runs, those of an arm's seeds together."""
    arms = dict.fromkeys(run.arm for run in runs)
    return [[values(run) for run in runs if run.arm == arm] for arm in arms]


def with_interval(what, fit, points, published, least=None, most=None, source=None):
    """A fitted number, and the ends of its 95% interval."""
    low, high = fits.interval(fit, points)
    return [
        Number(what, [fit(np.concatenate(points))], published, least, most, source),
        Number(f'{what}: 95% from', [low]),
        Number(f'{what}: 95% to', [high]),
    ]


def simple(rows):
    """alpha of L = (N_c / N)^alpha, of rows (N, L)."""
    return -fits.power(*rows.T)[1]


def offset(rows):
    """alpha of L = E + A N^-alpha, of rows (N, L)."""
    return fits.offset_power(*rows.T)[2]


def optimal(rows):
    """a of N_opt ~ C^a, of rows (C, N, L)."""
    best = best_sizes(rows)
    return fits.power(list(best), list(best.values()))[1]


def best_sizes(rows):
    """Parameters of the best model, by budget, of rows (C, N, L)."""
    return {C: fits.lowest(*rows[rows[:, 0] == C, 1:].T) for C in np.unique(rows[:, 0])}


def draw(figure, runs):
    axes = figure.subplots()
    axes.set(xscale='log', ylabel='validation loss, nats a token')
    if runs[0].arm in SMALL:
        draw_fixed_text(axes, runs)
    else:
        draw_fixed_budgets(axes, runs)
    axes.legend()


def draw_fixed_text(axes, runs):
    """Losses and both laws."""
    N, L = np.transpose([(scaling.matrices(run.arm), run.last('loss')) for run in runs])
    line = np.geomspace(N.min(), N.max(), 100)
    A, b = fits.power(N, L)
    E, B, alpha = fits.offset_power(N, L)
    axes.plot(N, L, 'o')
    axes.plot(line, A * line**b, label=f'$\\sim N^{{{b:.3f}}}$')
    label = f'${E:.2f} + {B:.3g}\\,N^{{{-alpha:.2f}}}$'
    axes.plot(line, E + B * line**-alpha, '--', label=label)
    axes.set(yscale='log', xlabel='N, parameters without embeddings')


def draw_fixed_budgets(axes, runs):
    """Losses by size, a colour a budget, and the best sizes."""
    for i, budget in enumerate(dict.fromkeys(run.arm.split()[0] for run in runs)):
        of_budget = [run for run in runs if run.arm.split()[0] == budget]
        N, L = np.transpose(sorted((run.parameters, run.last('loss')) for run in of_budget))
        axes.plot(N, L, 'o', color=f'C{i}')
        curve = np.polyfit(np.log(N), L, 2)
        line = np.geomspace(N.min(), N.max(), 100)
        axes.plot(line, np.polyval(curve, np.log(line)), color=f'C{i}', label=f'{budget} FLOPs')
        axes.axvline(fits.lowest(N, L), color=f'C{i}', ls=':')
    axes.set(xlabel='N, parameters')


PAPER = Paper(
    name='scaling',
    title='Scaling laws',
    claim='The loss falls as a power of the number of parameters; for a budget of FLOPs the best '
    'number of parameters grows as about its square root.',
    source=f'https://arxiv.org/abs/2001.08361, {HOFFMANN}',
    sizes={'': [Arm(size, f'configs/scaling.py:{size}') for size in SMALL], 'full': budget_arms()},
    measure=measure,
    draw=draw,
    seeds=3,
    remark='The published exponents are of models up to a thousand times as large, of other text, '
    'with as much of it as helps; here all sizes read the same little text.',
)
