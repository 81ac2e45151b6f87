"""Patches in another order: nothing to a model without positions, another table with them."""

import jax
import numpy as np
import pytest

from tests import tiny
from transformer.errors import UserError
from transformer.hf import native
from transformer.models import VisionOptions

SMALL = {'image': 8, 'patch': 2, 'positions': 'none', 'pool': 'mean', 'dropout': 0.0}


def logits(params, **options):
    model = tiny.member('vit', **SMALL | options)
    batch = tiny.one(tiny.batch_for(model, B=4))
    return np.asarray(jax.jit(model.apply, static_argnames='method')(
        {'params': params}, batch, method='forward'
    )[0])  # fmt: skip


def test_without_positions_the_order_is_nothing():
    params = tiny.filled(tiny.member('vit', **SMALL))
    plain, shuffled = logits(params), logits(params, shuffle=3)
    np.testing.assert_allclose(shuffled, plain, rtol=1e-5, atol=1e-5)


def test_with_positions_it_is_the_order_of_their_table():
    learned = {'positions': 'learned'}
    model = tiny.member('vit', **SMALL | learned, shuffle=3)
    params = tiny.filled(model)
    order = model.config.patches.order
    assert sorted(order) == list(range(16)) and list(order) != sorted(order)
    plain, shuffled = logits(params, **learned), logits(params, **learned, shuffle=3)
    assert np.abs(shuffled - plain).max() > 1e-2
    # The vector of place i goes to where patch order[i] stands; place 0 is the class token's.
    moved = jax.tree.map(lambda x: x, params)
    table = np.array(params['patches']['positions']['table'])
    table[1 + order] = np.array(params['patches']['positions']['table'])[1:]
    moved['patches']['positions']['table'] = table
    np.testing.assert_allclose(logits(moved, **learned), shuffled, rtol=1e-5, atol=1e-5)


def test_another_seed_is_another_order():
    orders = [tiny.member('vit', **SMALL, shuffle=seed).config.patches.order for seed in (1, 1, 2)]
    assert (orders[0] == orders[1]).all() and (orders[0] != orders[2]).any()
    with pytest.raises(UserError, match='config.model.shuffle=-1'):
        VisionOptions(shuffle=-1)


def test_no_other_code_would_shuffle_so():
    options = {'patch': 4, 'norm_eps': 1e-12}
    native.architecture_of(tiny.member('vit', **options).config, 'class', ('a', 'b', 'c'))
    shuffled = tiny.member('vit', **options, shuffle=1).config
    with pytest.raises(UserError, match='no family of checkpoints'):
        native.architecture_of(shuffled, 'class', ('a', 'b', 'c'))
