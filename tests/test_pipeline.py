"""The pipeline: its schedule as data, and that stages change no number. Toy layers, then models."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import tiny
from transformer import paths, pipeline, sharding, step, summary
from transformer.context import Context
from transformer.errors import ConfigError
from transformer.experiment import MeshConfig
from transformer.schedule import IDLE, schedule


def mesh_of(**axes):
    """Of just these axes, over as many devices."""
    sizes = dict.fromkeys(sharding.AXES, 1) | axes
    devices = jax.devices()[: int(np.prod(list(sizes.values())))]
    return sharding.make_mesh(MeshConfig(**sizes), devices=devices)


# The schedule


@pytest.mark.parametrize('stages', [1, 2, 4])
@pytest.mark.parametrize('microbatches', [1, 2, 3, 4, 8])
@pytest.mark.parametrize('rounds', [1, 2, 3])
def test_the_schedule_does_everything_once_and_in_order(stages, microbatches, rounds):
    plan = schedule(stages, microbatches, rounds)
    done = {}
    for i, (micros, turns) in enumerate(zip(plan.micro_IS, plan.round_IS)):
        for s, (micro, turn) in enumerate(zip(micros, turns)):
            if micro != IDLE:
                assert (s, turn, micro) not in done
                done[s, turn, micro] = i
    assert len(done) == stages * microbatches * rounds
    for (s, turn, micro), i in done.items():
        assert plan.when_SVA[s, turn, micro] == i
        before = (s - 1, turn, micro) if s else (stages - 1, turn - 1, micro)
        if s:
            assert i == done[before] + 1  # handed over, kept nowhere
        elif turn:
            assert i > done[before]


@pytest.mark.parametrize(('S', 'A', 'V'), [(2, 4, 1), (4, 4, 1), (4, 8, 2), (4, 4, 4), (2, 3, 3)])
def test_the_bubble_is_as_the_formula_says(S, A, V):
    cells = schedule(S, A, V).micro_IS
    idle = (cells == IDLE).sum()
    assert cells.shape == (V * A + S - 1, S)
    assert idle / cells.size == pytest.approx((S - 1) / (V * A + S - 1))
    assert schedule(S, A, V).bubble == pytest.approx((S - 1) / (V * A + S - 1))


def test_the_summary_names_it():
    stack = tiny.member('gpt', microbatches=4).config.stack
    line = 'pipeline       2 stages, 4 microbatches, 1 round: bubble 20.0%'
    assert summary.pipeline_lines(stack, mesh_of(stage=2)) == [line]
    assert summary.pipeline_lines(stack, mesh_of(data=2)) == []


# Layers of one product


D = 4


def layer(own, x_BTD, ctx):
    """Reads what is its own, the rows' numbers, a memory and what is nobody's; reports a mean."""
    x_BTD = jnp.tanh(x_BTD @ own['w_DD'] + ctx.rows_B[:, None, None] + ctx.bias)
    x_BTD += ctx.memory_BSD * own['index']
    return x_BTD, {'mean': x_BTD.mean()}


def in_turn(layers_R, x_NTD, memory_NTD, bias, A):
    """Each microbatch alone, through one layer after the other."""

    def micro(x_BTD, rows_B, memory_BTD):
        ctx = Context.of(x_BTD, rows_B=rows_B, memory_BSD=memory_BTD, bias=bias)
        return jax.lax.scan(lambda x, own: layer(own, x, ctx), x_BTD, layers_R)

    rows_N = jnp.arange(len(x_NTD))
    apart = [x.reshape(-1, A, *x.shape[1:]) for x in (x_NTD, rows_N, memory_NTD)]
    x_BATD, told = jax.vmap(micro, in_axes=1, out_axes=1)(*apart)
    return x_BATD.reshape(x_NTD.shape), told


def through_stages(layers_R, x_NTD, memory_NTD, bias, A, V):
    rows_N = jnp.arange(len(x_NTD))
    ctx = Context.of(x_NTD, rows_B=rows_N, memory_BSD=memory_NTD, bias=bias)
    return pipeline.run(layer, layers_R, x_NTD, ctx, A, V)


# Also where microbatches are fewer than the stages, and where stages do not divide them.
@pytest.mark.parametrize(('S', 'A', 'V'), [(2, 4, 1), (4, 6, 2), (2, 3, 2), (4, 2, 2)])
def test_stages_change_no_result_and_no_gradient(S, A, V):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape, np.float32))  # noqa: E731
    R = 2 * S * V
    args = {'w_DD': draw(R, D, D), 'index': draw(R)}, draw(12, 3, D), draw(12, 3, D), draw(1, 1, D)
    weights = draw(12, 3, D), draw(R, A)

    def loss(f, *args):
        x_NTD, told = f(*args)
        return (x_NTD * weights[0]).sum() + (told['mean'] * weights[1]).sum()

    def made(f):
        return jax.jit(jax.value_and_grad(functools.partial(loss, f), argnums=(0, 1, 2, 3)))(*args)

    expected = made(lambda *x: in_turn(*x, A))
    with jax.set_mesh(mesh_of(data=2, stage=S)):
        found = made(lambda *x: through_stages(*x, A, V))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected
    )


# Whole models


def gradients(model, A, **axes):
    """Loss and gradients as a training step has them."""
    experiment = tiny.experiment(batch_size=4 * A, accumulation=A)
    mesh, zero, tx = mesh_of(**axes), jnp.zeros((), jnp.int32), optax.sgd(1.0)
    params = jax.device_get(tiny.filled(model))
    state = step.TrainState(zero, params, tx.init(params), jnp.zeros(2, jnp.uint32), zero)
    layout = sharding.state_shardings(state, tx, mesh)
    state = jax.device_put(jax.device_get(state), layout)
    update = step.jit_train_step(step.train_step_fn(model, tx, experiment), layout, mesh)
    state, numbers = update(state, sharding.put_batch(tiny.batch_for(model, A, 4), mesh))
    moved = jax.tree.map(np.subtract, params, jax.device_get(state.params))
    return jax.device_get(numbers), moved


def same(found, expected):
    for name, value in expected[0].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-4, err_msg=name)
    for path, a, b in zip(paths.names(found[1]), *map(jax.tree.leaves, (found[1], expected[1]))):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5, err_msg=path)


@pytest.mark.long
def test_a_decoder_with_dropout_and_experts_in_rounds():
    """Experts: their losses and their capacities are those of each microbatch."""
    sizes = {'dropout': 0.3, 'depth': 4, 'microbatches': 4, 'expert_capacity': 0.8}
    expected = gradients(tiny.member('mixtral', **sizes), 4)
    assert expected[0]['experts/dropped'] > 0
    same(gradients(tiny.member('mixtral', **sizes), 4, data=2, stage=2, tensor=2), expected)
    twice = {'stages': 2, 'rounds': 2, 'remat': 'minimal'}
    same(gradients(tiny.member('mixtral', **twice, **sizes), 4, stage=2), expected)


@pytest.mark.long
def test_an_encoder_decoder_hands_each_microbatch_its_memory():
    sizes = {'dropout': 0.3, 'depth': 4, 'decoder_depth': 4, 'microbatches': 4}
    model = tiny.member('t5', **sizes)
    same(gradients(model, 4, stage=4), gradients(model, 4))


def test_evaluation_and_generation_take_any_number_of_rows():
    """Six rows are not four microbatches; with caches the layers run in turn."""
    model = tiny.member('gpt', depth=2, microbatches=4)
    params, batch = tiny.filled(model), tiny.one(tiny.batch_for(model, B=6))

    def scores(params, batch):
        whole, _ = sharding.apply(model, {'params': params}, batch, method='forward')
        ctx = Context.of(batch['inputs'], batch['positions'], batch['segment_ids'])
        caches = model.init_cache(*batch['inputs'].shape)
        return whole, model.apply({'params': params}, batch['inputs'], ctx, caches)[0]

    expected = jax.jit(scores)(params, batch)
    with jax.set_mesh(mesh_of(stage=2)):
        found = jax.jit(scores)(params, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


# Bad input


@pytest.mark.parametrize(
    ('name', 'sizes', 'field', 'accepted'),
    [
        ('gpt', {'depth': 6, 'stages': 4}, 'mesh.stage', 'divides the 6 repeats .* 2 or 3'),
        ('gpt', {'depth': 6, 'stages': 2, 'rounds': 2, 'microbatches': 2}, 'mesh.stage', '1 or 3'),
        ('albert', {'stages': 2}, 'mesh.stage', '1, as all layers share'),
        ('gpt', {'stages': 2, 'rounds': 2}, 'accumulation', 'at least config.mesh.stage=2'),
    ],
)
def test_layers_that_cannot_be_dealt_out(name, sizes, field, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        tiny.member(name, **sizes)
    assert raised.value.field == field


def test_what_a_pipeline_cannot_do():
    model, mesh = tiny.member('gpt', depth=3), mesh_of(stage=2)
    batch = tiny.one(tiny.batch_for(model))
    read = lambda **more: jax.eval_shape(  # noqa: E731
        lambda p: model.apply({'params': p}, batch, method='forward', **more), tiny.shapes(model)
    )
    with jax.set_mesh(mesh), pytest.raises(ConfigError, match='divides the 3 repeats'):
        read()
    model = tiny.member('gpt')
    with jax.set_mesh(mesh), pytest.raises(ValueError, match='collects no intermediates'):
        read(mutable='intermediates')
    with pytest.raises(ValueError, match='1 microbatches cannot be used with a batch of 4'):
        gradients(model, 4, stage=2)
