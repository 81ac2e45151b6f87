"""Attention weights on request, for pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny


def collected(name, **options):
    model, params = tiny.made(name, **options)
    batch = tiny.one(tiny.batch_for(model))
    read = jax.jit(
        lambda p: model.apply({'params': p}, batch, method='forward', mutable=['intermediates'])
    )
    (scores, _), state = read(params)
    plain = jax.jit(lambda p: model.apply({'params': p}, batch, method='forward')[0])(params)
    np.testing.assert_allclose(scores, plain, atol=1e-6)
    return state['intermediates'], batch


def test_weights_of_every_layer_and_head():
    found, batch = collected('llama')
    (weights_RBNTS,) = found['stack']['repeat']['block_0']['mixer']['weights']
    B, T = batch['inputs'].shape
    assert weights_RBNTS.shape == (2, B, 4, T, T)
    np.testing.assert_allclose(weights_RBNTS.sum(-1), 1, atol=1e-5)
    segments = batch['segment_ids']
    may = (segments[:, :, None] == segments[:, None]) & np.tril(np.ones((T, T), bool))[None]
    assert (jnp.where(may[None, :, None], 0, weights_RBNTS) == 0).all()
    assert weights_RBNTS.std() > 0


def test_weights_between_two_sequences():
    found, batch = collected('t5')
    (weights_RBNTS,) = found['decoder']['repeat']['block_0']['cross']['weights']
    same = batch['decoder_segment_ids'][:, :, None] == batch['segment_ids'][:, None]
    np.testing.assert_allclose(weights_RBNTS.sum(-1), 1, atol=1e-5)
    assert (jnp.where(same[None, :, None], 0, weights_RBNTS) == 0).all()


def test_other_backends_refuse():
    with pytest.raises(ValueError, match="'xla' has no attention weights; use 'reference'"):
        collected('llama', attention='xla')


def test_a_row_longer_than_the_table_is_refused():
    model, params = tiny.made('gpt')
    longer = {k: jnp.tile(x, (1, 2)) for k, x in tiny.one(tiny.batch_for(model)).items()}
    with pytest.raises(ValueError, match=r'config\.context=32 .* at most 16'):
        model.apply({'params': params}, longer, method='forward')
