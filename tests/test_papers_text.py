"""What is measured of runs of known outcome: length extrapolation, shared keys, scaling laws."""

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from configs import grouped as grouped_config
from configs import scaling as scaling_config
from results.paper import Run
from results.papers import extrapolation, grouped, scaling
from transformer import cli, pace, restore, summary
from transformer.experiment import Experiment


def run(arm, loss=1.0, after=None, seed=0, parameters=1):
    records = [{'step': 10, 'split': 'validation', 'loss': loss}]
    return Run(arm, seed, records, after or {}, parameters, 1.0)


def held(paper, runs):
    """Whether each number holds, by what it is; the picture can be drawn."""
    paper.draw(Figure(), runs)
    return {number.what: number for number in paper.measure(runs)}


def lengthened(rises):
    """Runs whose loss rises so from rows of 64 to rows of 512."""
    return [
        run(
            arm,
            after={
                str(n): {'loss': first + rise * np.log2(n / 64) / 3} for n in extrapolation.LENGTHS
            },
        )
        for (arm, (first, _)), rise in zip(extrapolation.REFERENCE.items(), rises)
    ]


def test_extrapolation_is_reproduced_where_alibi_alone_stays():
    found = held(extrapolation.PAPER, lengthened([0.0, 2.0, 2.3, 1.2]))
    assert len(found) == 8 and all(number.holds for number in found.values())
    found = held(extrapolation.PAPER, lengthened([0.1, 0.1, 2.3, 1.2]))
    failed = [what for what, number in found.items() if not number.holds]
    assert failed == [f'{name}, rise from rows of 64 to 512' for name in ('ALiBi', 'rotary')]


def shared(loss, speed, cache):
    """Runs of two seeds, the last of them with less of everything."""
    return [
        run(
            arm,
            loss[i] + seed,
            {'decode': {grouped.SPEED: speed[i] * (1 + seed), grouped.CACHE: cache[i]}},
            seed,
        )
        for seed in (1, 0)
        for i, arm in enumerate(grouped.SETS)
    ]


def test_sharing_is_measured_seed_by_seed():
    found = held(grouped.PAPER, shared((2.0, 2.01, 2.02), (100, 200, 300), (80, 20, 10)))
    assert [number.holds for number in found.values()] == [None] + 6 * [True]
    costs = found['multi-query, 1 set: loss above that']
    assert costs.values == pytest.approx([0.02, 0.02])
    assert found['grouped, 2 sets: share of the cache'].values == [0.25, 0.25]
    assert found['multi-query, 1 set: times as many tokens a second'].values == [3, 3]
    found = held(grouped.PAPER, shared((2.0, 2.1, 2.1), (100, 90, 90), (80, 21, 11)))
    assert [number.holds for number in found.values()] == [None] + 6 * [False]


def shapes_of(config):
    model = restore.build_model(Experiment.from_config(config), config.data.vocab)
    init = lambda: model.init(jax.random.key(0), model.example(), method='forward')  # noqa: E731
    return model, jax.eval_shape(init)['params']


def test_sharing_costs_no_parameters_and_the_cache_is_in_proportion():
    sizes, caches = {}, {}
    for arm in grouped.SETS:
        model, shapes = shapes_of(grouped_config.get_config(arm))
        sizes[arm] = summary.parameter_count(shapes)
        caches[arm] = pace.cache_bytes(model, 8, 2048)
    assert len(set(sizes.values())) == 1
    assert caches == {arm: 2 * 4 * 4 * 8 * 2048 * 24 * sets for arm, sets in grouped.SETS.items()}


@pytest.mark.parametrize('size', ['147k', 'iso_10m'])
def test_sizes_are_counted(size):
    """All parameters are those of the matrices, the table of tokens and the norms."""
    config = scaling_config.get_config(size)
    _, shapes = shapes_of(config)
    m = config.model
    besides = config.data.vocab * m.width + (2 * m.depth + 1) * m.width
    assert summary.parameter_count(shapes) == scaling_config.matrices(size) + besides


def test_arms_of_a_budget_take_equal_flops():
    for arm in scaling.PAPER.sizes['full']:
        config = cli.load_config(arm.config)
        budget, size = arm.name.split()
        tokens = arm.changes['steps'] * config.batch_size * config.context
        parameters = scaling_config.matrices(size) + config.data.vocab * config.model.width
        assert 6 * parameters * tokens == pytest.approx(float(budget), rel=0.005)


def with_losses(size, law, seeds=1, noise=0.0):
    """Runs of all arms of a size; `law` makes a loss of (FLOPs, parameters, matrices)."""
    rng = np.random.default_rng(0)
    for arm in scaling.PAPER.sizes[size]:
        *budget, name = arm.name.split()
        matrices = scaling_config.matrices(name)
        N = matrices + 8192 * scaling_config.get_config(name).model.width
        loss = law(float(budget[0]) if budget else 0.0, N, matrices)
        for seed in range(seeds):
            yield run(arm.name, loss + noise * rng.standard_normal(), None, seed, N)


def test_the_exponents_of_a_fixed_text_are_found():
    law = lambda C, N, matrices: 1.9 + 30 * matrices**-0.3  # noqa: E731
    found = held(scaling.PAPER, list(with_losses('', law, seeds=3, noise=0.005)))
    alpha = 'alpha of L = E + A N^-alpha'
    assert found[alpha].mean == pytest.approx(0.3, abs=0.02)
    assert found[f'{alpha}: 95% from'].mean < 0.3 < found[f'{alpha}: 95% to'].mean
    assert found['R^2 of log L by log N'].holds and found['alpha of L = (N_c / N)^alpha'].holds
    flat = held(scaling.PAPER, list(with_losses('', lambda *_: 2.0, seeds=3, noise=0.005)))
    assert not flat['R^2 of log L by log N'].holds
    assert not flat['alpha of L = (N_c / N)^alpha'].holds


def test_the_best_size_of_a_budget_is_found():
    """Hoffmann's law with equal exponents, for which the best size grows as the square root."""

    def law(C, N, matrices):
        return 1.69 + 400 * N**-0.34 + 400 * 20**0.34 * (C / (6 * N)) ** -0.34

    found = held(scaling.PAPER, list(with_losses('full', law)))
    exponent = found['exponent of the best size in the budget']
    assert exponent.mean == pytest.approx(0.5, abs=0.01) and exponent.holds
    for budget in scaling.BUDGETS:
        best = (float(budget) / 120) ** 0.5 / 1e6
        assert found[
            f'best size for {float(budget):.0e} FLOPs, million parameters'
        ].mean == pytest.approx(best, rel=0.1)
