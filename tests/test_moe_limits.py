"""Experts: which tokens are dropped, and that documents of one row do not meet."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.made_experts import (
    ALL,
    DROPLESS,
    MIXTRAL,
    SEGMENTS,
    SWITCH,
    D,
    E,
    by_loops,
    context,
    run,
    setup,
)


def test_nothing_is_dropped_outside_training():
    config = ALL['switch, limited']
    moe, params, x_BTD = setup(config)
    calm = jax.jit(lambda p, x: moe.apply({'params': p}, x, context(train=False)))
    y_BTD, aux = calm(params, x_BTD)
    expected_BTD, dropped, _ = by_loops(SWITCH, params, x_BTD, SEGMENTS)
    np.testing.assert_allclose(y_BTD, expected_BTD, rtol=1e-4, atol=1e-4)
    assert aux['stats']['dropped'] == dropped == 0


@pytest.mark.parametrize('name', DROPLESS)
def test_no_token_is_lost_where_all_want_one_expert(name):
    config = ALL[name]
    _, params, x_BTD = setup(config)
    params = params | {
        'router': {'kernel': np.zeros((D, E), np.float32)}
    }  # ties go to the first experts
    y_BTD, aux = run(config, params, x_BTD)
    assert aux['stats']['dropped'] == 0
    assert aux['stats']['load_max'] == E / config.top_k
    assert aux['stats']['load_min'] == 0
    expected_BTD, *_ = by_loops(config, params, x_BTD, SEGMENTS)
    np.testing.assert_allclose(y_BTD, expected_BTD, rtol=1e-4, atol=1e-4)
    assert (np.asarray(y_BTD)[SEGMENTS > 0] != 0).any(-1).all()


def separate(config):
    """Largest difference between documents in one batch and each on its own."""
    _, params, x_BTD = setup(config)
    together_BTD = np.asarray(run(config, params, x_BTD)[0])
    moe, *_ = setup(config)
    apply = jax.jit(lambda params, x, ones: moe.apply({'params': params}, x, context(ones)))
    gap = 0.0
    for b, row in enumerate(SEGMENTS):
        for segment in range(1, row.max() + 1):
            at = np.flatnonzero(row == segment)
            tokens = slice(at[0], at[-1] + 1)
            ones = np.ones((1, len(at)), np.int32)
            alone, _ = apply(params, x_BTD[b : b + 1, tokens], ones)
            gap = max(gap, np.abs(alone[0] - together_BTD[b, tokens]).max())
    return gap


def test_packed_equals_separate_where_nothing_is_dropped():
    assert separate(MIXTRAL) < 1e-4
    assert separate(ALL['switch, limited']) > 1e-2


@pytest.mark.parametrize('train', [True, False])
def test_an_expert_takes_so_many_tokens_of_a_document(train):
    config = dataclasses.replace(SWITCH, limit=2)
    moe, params, x_BTD = setup(config)
    apply = jax.jit(
        lambda config_params, x: moe.apply({'params': config_params}, x, context(train=train))
    )
    y_BTD, aux = apply(params, x_BTD)
    whole_BTD, _, _ = by_loops(SWITCH, params, x_BTD, SEGMENTS)
    chosen_BT = np.argmax(x_BTD @ params['router']['kernel'], -1)
    seen, lost = {}, 0
    for b, t in np.argwhere(SEGMENTS > 0):
        key = b, SEGMENTS[b, t], chosen_BT[b, t]
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 2:
            whole_BTD[b, t], lost = 0, lost + 1
    np.testing.assert_allclose(y_BTD, whole_BTD, rtol=1e-4, atol=1e-4)
    assert aux['stats']['dropped'] == lost > 0


def test_packed_equals_separate_where_documents_have_their_limits():
    assert separate(dataclasses.replace(SWITCH, limit=1)) < 1e-4
