"""Linear maps and activations with backward passes of their own have the gradients of the plain."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from transformer import hardware
from transformer.ops.activations import gelu
from transformer.ops.linear import linear

SIZES = dict(zip('btdfnhgpqcs', (2, 6, 8, 12, 4, 3, 2, 2, 3, 3, 6)))
EQUATIONS = (
    'btd,df->btf',
    'btd,dnh->bnth',
    'bnth,nhd->btd',
    'bd,dc->bc',
    'bgphqc,pqcd->bghd',
    'btd,dgf->gbtf',
)


def arrays(equation):
    operands, output = equation.split('->')
    draw = np.random.default_rng(0).standard_normal
    shapes = [[SIZES[letter] for letter in letters] for letters in (*operands.split(','), output)]
    return [draw(shape).astype(np.float32) for shape in shapes]


def check(equation, *specs):
    x, kernel, y = arrays(equation)
    results = []
    for f in (lambda *a: linear(equation, *a), lambda *a: jnp.einsum(equation, *a)):
        run = jax.jit(lambda x, kernel, y, f=f: (f(x, kernel), *jax.vjp(f, x, kernel)[1](y)))
        results.append(run(x, kernel, y))
    for got, expected in zip(*results):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize('equation', EQUATIONS)
@pytest.mark.parametrize('devices', [1, 2])
def test_gradients_are_those_of_einsum(equation, devices):
    """A single CPU multiplies matrices, several keep all axes."""
    with jax.set_mesh(jax.make_mesh((devices,), ('data',), axis_types=(AxisType.Auto,))):
        check(equation)


@pytest.mark.parametrize('axis', ['data', 'context'])
def test_they_are_under_a_mesh(axis):
    mesh = jax.make_mesh((2, 2), (axis, 'tensor'), axis_types=(AxisType.Auto,) * 2)
    spec = PartitionSpec(*((axis,) if axis == 'data' else (None, axis)))
    x, kernel, y = arrays('btd,df->btf')
    plain = jax.vjp(lambda *a: linear('btd,df->btf', *a), x, kernel)[1](y)
    with jax.set_mesh(mesh):
        run = jax.jit(
            lambda x, kernel, y: jax.vjp(lambda *a: linear('btd,df->btf', *a), x, kernel)[1](y),
            in_shardings=(spec, PartitionSpec(None, 'tensor'), spec),
        )
        split = run(x, kernel, y)
    for got, expected in zip(split, plain):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_sum_over_places_is_not_transposed():
    """No copy of an operand into another order, for the MLP's two products."""

    def mlp(x, up, down):
        return linear('btf,fd->btd', gelu(linear('btd,df->btf', x, up)), down)

    x, up, down = jnp.ones((4, 64, 32)), jnp.ones((32, 128)), jnp.ones((128, 32))
    step = jax.jit(lambda *a: jax.vjp(mlp, *a)[1](x))
    text = step.lower(x, up, down).compile().as_text()
    assert ' dot(' in text and not re.search(r'= \S+ (transpose|copy)\(', text)


@pytest.mark.slow
def test_what_kernels_gradients_are_made_of_is_not_kept_for_the_end():
    """A layer keeps its input and two of its hidden arrays, and nothing of its backward pass."""
    R, D, F = 512, 64, 256
    # The tests' own settings reuse no memory; the rest is `train.py`'s.
    options = {'xla_backend_optimization_level': 1, 'xla_llvm_disable_expensive_passes': False}
    options |= hardware.COMPILER_OPTIONS['cpu']

    def loss(up, down, x):
        for layer in range(len(up)):
            hidden = gelu(linear('td,df->tf', x, up[layer]))
            x = x + linear('tf,fd->td', hidden, down[layer])
        return jnp.square(x).sum()

    def temporaries(depth):
        up, down, x = (jnp.zeros(shape) for shape in ((depth, D, F), (depth, F, D), (R, D)))
        step = jax.jit(jax.grad(loss, (0, 1))).lower(up, down, x).compile(options)
        return step.memory_analysis().temp_size_in_bytes

    with jax.set_mesh(jax.make_mesh((1,), ('data',), axis_types=(AxisType.Auto,))):
        of_a_layer = (temporaries(12) - temporaries(8)) / 4
    assert of_a_layer <= 1.02 * 4 * R * (D + 2 * F)


def test_the_slope_of_gelu():
    x = jnp.asarray(np.concatenate([np.linspace(-12, 12, 2001), [-40.0, 40.0]]), jnp.float32)
    exact = jax.vmap(jax.grad(lambda x: jax.nn.gelu(x, approximate=False)))(x)
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu))(x), exact, atol=2e-7)
    np.testing.assert_array_equal(gelu(x), jax.nn.gelu(x, approximate=False))
