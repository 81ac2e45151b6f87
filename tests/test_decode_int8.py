"""Parameters as 8-bit whole numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import quantize
from transformer.context import Context
from transformer.decode import Generator
from transformer.errors import UserError
from transformer.ops.int8 import Int8, from_kernel, product
from transformer.sampling import Sampling

NAMES = ('gpt', 'mamba', 'retnet')


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@functools.lru_cache
def made(name):
    model, params = tiny.made(name, decode=True)
    return model, params


@pytest.mark.parametrize('rounds', [False, True])
@pytest.mark.parametrize(
    ('equation', 'x', 'kernel'),
    [
        ('btd,dnh->bnth', (2, 3, 64), (64, 4, 8)),
        ('bnth,nhd->btd', (2, 4, 3, 8), (4, 8, 64)),
        ('btd,df->btf', (1, 1, 64), (64, 96)),
    ],
)
def test_products_are_close(equation, x, kernel, rounds):
    """Rounding to steps s errs by s / sqrt(12): about 0.7% of a normal variable of 4 sigmas."""
    x, kernel = normal(0, *x), normal(1, *kernel)
    want = jnp.einsum(equation, x, kernel)
    got = product(equation, x, from_kernel(equation, kernel, rounds), kernel.shape)
    assert got.shape == want.shape
    error = jnp.linalg.norm(got - want) / jnp.linalg.norm(want)
    assert 1e-4 < error < (0.015 if rounds else 0.01)


def test_outputs_have_scales_of_their_own():
    """A small output beside a large one keeps its digits; zeros stay zeros."""
    kernel_OI = normal(0, 3, 256) * jnp.array([1e-4, 1e3, 0.0])[:, None]
    got = Int8.of(kernel_OI, rounds=False)
    assert got.values_OI.dtype == jnp.int8
    rows = got[jnp.arange(3)]
    np.testing.assert_allclose(rows[0], kernel_OI[0], atol=3e-6)
    np.testing.assert_allclose(rows[1], kernel_OI[1], atol=30)
    np.testing.assert_array_equal(rows[2], 0)


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
@pytest.mark.parametrize('name', NAMES)
def test_scores_stay_close(name, platform):
    model, params = made(name)
    less, small = quantize.quantized(model, params, platform=platform)
    tokens = jnp.asarray(tiny.batch(B=4)['inputs'][0])
    read = lambda model: jax.jit(  # noqa: E731
        lambda p: model.apply({'params': p}, tokens, Context.of(tokens))[0]
    )
    want, got = read(model)(params), read(less)(small)
    error = jnp.linalg.norm(got - want) / jnp.linalg.norm(want)
    assert 1e-4 < error < 0.05


def test_memory_falls_to_about_a_quarter():
    model = tiny.member('llama', width=256, hidden=512, tied=False, decode=True)
    shapes = tiny.shapes(model)
    _, small = quantize.quantized(model, shapes)
    bytes_of = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))  # noqa: E731
    assert bytes_of(small) < 0.27 * bytes_of(shapes)


def test_greedy_text_is_mostly_the_same():
    model, params = made('llama')
    prompts = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5], [8, 8]]
    plain = Generator(model, params, None, Sampling(0.0)).generate(prompts, 6)
    less = quantize.quantized(model, params)
    got = Generator(*less, None, Sampling(0.0)).generate(prompts, 6)
    assert np.mean(np.array(plain) == np.array(got)) > 0.7


@pytest.mark.parametrize(
    ('name', 'kind', 'message'),
    [
        ('llama', 'int3', "quantize 'int3' cannot be used; accepted: int8"),
        ('t5', 'int8', 'an encoder-decoder cannot be used; accepted: a decoder'),
        ('mixtral', 'int8', 'experts cannot be used; accepted: config.model.experts=0'),
    ],
)
def test_what_cannot_be_quantized(name, kind, message):
    model = tiny.member(name)
    with pytest.raises(UserError, match=message):
        quantize.quantized(model, tiny.shapes(model), kind)
