"""Laws are found back in numbers made from them."""

import math

import numpy as np
import pytest

from results import fits

SIZES = np.array([3e4, 1e5, 3e5, 1e6, 3e6])


def test_a_power_is_found():
    a, b = fits.power(SIZES, 5 * SIZES**-0.076)
    assert (a, b) == pytest.approx((5, -0.076), rel=1e-9)
    assert fits.straightness(SIZES, 5 * SIZES**-0.076) == pytest.approx(1)


@pytest.mark.parametrize('law', [(1.69, 406.4, 0.34), (0.0, 20.0, 0.1), (2.0, 3e3, 0.8)])
def test_a_power_above_a_floor_is_found(law):
    E, A, alpha = law
    found = fits.offset_power(SIZES, E + A * SIZES**-alpha)
    assert found[2] == pytest.approx(alpha, rel=1e-3)
    assert found[0] == pytest.approx(E, abs=1e-3)
    assert found[1] == pytest.approx(A, rel=1e-2)


def test_a_floor_is_never_below_zero():
    """A curve that bends the other way, in logarithms, would ask for one."""
    loss = 10 - 0.4 * np.log(SIZES)
    E, A, alpha = fits.offset_power(SIZES, loss)
    assert E >= 0 and A > 0
    assert fits.straightness(SIZES, loss) < 1


def test_the_lowest_point():
    losses = 2 + 0.1 * np.log(SIZES / 4.2e5) ** 2
    assert fits.lowest(SIZES, losses) == pytest.approx(4.2e5)
    with pytest.raises(ValueError, match='no minimum'):
        fits.lowest(SIZES, -losses)
    with pytest.raises(ValueError, match='outside the sizes'):  # and no overflow
        fits.lowest([1e6, 2e6, 4e6], [3.0, 2.9, 2.80001])


def test_an_interval_holds_the_truth_and_narrows_with_the_noise():
    def of(noise):
        rng = np.random.default_rng(3)
        losses = 5 * SIZES**-0.076
        points = [
            [(n, x * math.exp(noise * z)) for z in rng.standard_normal(3)]
            for n, x in zip(SIZES, losses)
        ]
        return fits.interval(lambda rows: -fits.power(*rows.T)[1], points, draws=200)

    wide, narrow = of(0.01), of(0.001)
    assert wide[0] < 0.076 < wide[1]
    assert narrow[0] < 0.076 < narrow[1]
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 5
    assert of(0.01) == wide  # the same at each call


def test_too_few_sizes_are_refused():
    with pytest.raises(ValueError, match='1 different sizes; accepted: at least 2'):
        fits.power([3, 3], [1, 2])
    with pytest.raises(ValueError, match='at least 4'):
        fits.offset_power(SIZES[:3], SIZES[:3])
    with pytest.raises(ValueError, match='at least 3'):
        fits.lowest(SIZES[:2], SIZES[:2])
    with pytest.raises(ValueError, match='only 0 of'):
        fits.interval(lambda rows: fits.power(*rows.T)[1], [[(1.0, 2.0)]], draws=3)
