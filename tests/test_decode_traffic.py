"""What a step of decoding reads and writes: parameters once, caches in place."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from tests import tiny
from transformer import decode, model, paths, seq2seq, writer
from transformer.context import Context
from transformer.model import EncoderDecoder
from transformer.models.assemble import Sizes
from transformer.ops.product import product
from transformer.sampling import Sampling

LAYERS, HEADS, HEAD_WIDTH = 3, 2, 32


@functools.lru_cache
def step(B, slots):
    """A compiled step of B rows with caches of so many slots, and the bytes that it is given."""
    options = dataclasses.replace(
        tiny.OPTIONS, width=64, depth=LAYERS, heads=HEADS, kv_heads=HEADS, hidden=512
    )
    made = model.make(options.build(Sizes(tiny.VOCAB, 512, decode=True)))
    ready, params = writer.ready(made, tiny.shapes(made))
    caches = jax.eval_shape(lambda: ready.init_cache(B, slots))
    state = jax.eval_shape(
        lambda caches: decode.State.of(
            jnp.zeros((B, tiny.VOCAB)), caches, jnp.zeros(B, jnp.int32), 8
        ),
        caches,
    )
    advance = functools.partial(decode.advance, ready, Sampling(0.0), None)
    key = jax.eval_shape(lambda: jax.random.key(0))
    lowered = jax.jit(advance, donate_argnums=2).lower(params, key, state, 0, jnp.int32(4))
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))  # noqa: E731
    return lowered.compile(), size(params), size(caches)


def accessed(B, slots):
    return step(B, slots)[0].cost_analysis()['bytes accessed']


def test_a_step_reads_all_parameters_once():
    _, params, caches = step(4, 16)
    assert caches < params / 4
    assert accessed(4, 16) < 1.5 * (params + caches)


@pytest.mark.parametrize('B', [1, 4])
def test_a_longer_cache_costs_what_attention_reads_of_it(B):
    """Keys, values and scores of each slot: no copy of a cache, whole or of a layer."""
    more = accessed(B, 512) - accessed(B, 256)
    read = 2 * LAYERS * B * HEADS * HEAD_WIDTH * 4 * 256
    assert 0 < more < 2 * read
    cache = rf'f32\[(?:{B},)?{HEADS},512,{HEAD_WIDTH}\]'
    made = re.findall(rf'= {cache}\S* ([\w-]+)\(', step(B, 512)[0].as_text())
    kinds = {'parameter', 'get-tuple-element', 'bitcast', 'fusion', 'dynamic-update-slice'}
    assert set(made) <= kinds
    assert step(B, 512)[0].memory_analysis().alias_size_in_bytes > step(B, 512)[2]


TOKENS = np.array([[3, 1, 4, 1, 5]], np.int32)


def scores(model, params):
    """Of a prompt and of a token after it."""

    @jax.jit
    def read(params):
        if isinstance(model, EncoderDecoder):
            state = seq2seq.begin(model, params, TOKENS, np.ones_like(TOKENS), TOKENS, 3)
        else:
            how = {'slots': 8, 'length': 3}
            state = decode.prefill(model, False, params, TOKENS, np.ones_like(TOKENS), **how)
        one = jnp.array([[7]])
        ctx = Context.of(one, state.positions_B[:, None])
        return state.logits_BV, model.apply({'params': params}, one, ctx, state.caches)[0][:, 0]

    return np.stack(read(params))


@pytest.mark.parametrize('name', ['mixtral', 'bart', 'groups'])
def test_a_model_that_is_ready_is_the_same_model(name):
    """Whatever shares its parameters, and with a memory."""
    plain = tiny.member('gpt' if name == 'groups' else name, decode=True, shared=name == 'groups')
    if name == 'groups':
        stack = dataclasses.replace(plain.config.stack, repeats=4, groups=2)
        plain = model.make(dataclasses.replace(plain.config, stack=stack))
    params = tiny.filled(plain)
    ready, split = writer.ready(plain, params)
    assert writer.ready(ready, split)[1] is split
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in (params, split)]
    assert sizes[0] == sizes[1]
    want, got = scores(plain, params), scores(ready, split)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', ['mixtral', 'mamba'])
def test_casts_beforehand_change_nothing(name):
    """What counts in float32 stays: norms, routers, steps of a state."""
    whole, half = (tiny.member(name, decode=True, dtype=d) for d in ('float32', 'bfloat16'))
    params = tiny.filled(half)
    ready, cast = writer.ready(half, params)
    uncast = writer.ready(whole, params)[1]
    types = {path: x.dtype.name for path, x in paths.leaves(cast).items()}
    assert {'bfloat16', 'float32'} == set(types.values())
    kept = {path for path in types if re.search('norm|router|A_log|step', path)}
    assert kept and all(types[path] == 'float32' for path in kept)
    assert types['tokens/table'] == 'bfloat16'
    np.testing.assert_array_equal(scores(ready, cast), scores(ready, uncast))


@pytest.mark.parametrize(
    ('equation', 'kernel'),
    [('btd,dnh->bnth', (12, 2, 3)), ('btd,dgf->gbtf', (12, 2, 3)), ('bnth,nhd->btd', (3, 4, 5))],
)
@pytest.mark.parametrize('rows', [1, 40])
@pytest.mark.parametrize('devices', [1, 2])
def test_a_product_is_the_einsum(equation, kernel, rows, devices):
    """On one device and on several, for few rows and for many: each takes another way."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, rows, 4) if equation[1] == 'n' else (2, rows, 12), np.float32)
    kernel = rng.standard_normal(kernel, np.float32)
    with jax.set_mesh(jax.make_mesh((devices,), ('data',), axis_types=(AxisType.Auto,))):
        got = jax.jit(functools.partial(product, equation))(x, kernel)
    np.testing.assert_allclose(got, np.einsum(equation, x, kernel), rtol=1e-5, atol=1e-5)
