"""The update: microbatches, dropout, skipping, decay, and a mesh change nothing but speed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import tiny
from transformer import optim, paths, sharding, step
from transformer.errors import ConfigError
from transformer.experiment import MeshConfig
from transformer.restore import build_model

MESHES = [
    {'data': 8},
    {'data': 1, 'fsdp': 8},
    {'data': 4, 'tensor': 2},
    {'data': 2, 'fsdp': 2, 'tensor': 2},
    {'data': 2, 'fsdp': 2, 'context': 2},
    {'data': 1, 'context': 8},
]


def one_device():
    names = ('data', 'fsdp', 'tensor', 'context', 'expert')
    return jax.make_mesh(
        (1,) * 5, names, devices=jax.devices()[:1], axis_types=(jax.sharding.AxisType.Auto,) * 5
    )


def start(experiment, mesh):
    """A state with every scale and bias away from its start, and the compiled step."""
    model, tx = build_model(experiment, tiny.VOCAB), optim.make(experiment)
    init = step.init_fn(model, tx)
    shardings = jax.tree.map(lambda x: x.sharding, step.abstract_state(init, tx, mesh))
    state = jax.jit(init, out_shardings=shardings)(jax.random.key(experiment.seed))
    params = jax.device_put(tiny.noisy(state.params), shardings.params)
    state = state.replace(params=params)
    train_step = step.train_step_fn(model, tx, experiment)
    return state, step.jit_train_step(train_step, shardings, mesh)


def run(experiment, mesh, steps=2, batches=None):
    state, train_step = start(experiment, mesh)
    metrics = []
    for n in range(steps):
        batch = batches[n] if batches else tiny.batch(A=experiment.accumulation, seed=n)
        state, numbers = train_step(state, sharding.put_batch(batch, mesh))
        metrics.append({k: float(v) for k, v in numbers.items()})
    return state, metrics


def same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


# sgd in place of Adam: a parameter's change is its gradient, which Adam would hide
@pytest.fixture
def sgd(monkeypatch):
    monkeypatch.setattr(optim, 'make', lambda experiment: optax.sgd(1.0))


@pytest.mark.parametrize('axes', MESHES)
def test_mesh_changes_no_loss_and_no_gradient(sgd, axes):
    experiment = tiny.experiment(model={'dropout': 0.3})
    alone, alone_numbers = run(experiment, one_device(), steps=1)
    mesh = sharding.make_mesh(MeshConfig(**axes))
    spread, numbers = run(experiment, mesh, steps=1)
    np.testing.assert_allclose(numbers[0]['loss'], alone_numbers[0]['loss'], rtol=1e-5)
    same(spread.params, jax.device_get(alone.params), atol=1e-5)


def test_fsdp_and_tensor_split_the_state():
    mesh = sharding.make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    state, _ = start(tiny.experiment(), mesh)
    up = state.params['stack']['repeat']['block_0']['mlp']['up']['kernel']
    assert up.sharding.shard_shape(up.shape) == (3, 32 // 4, 96 // 2)
    moments = [x for x in jax.tree.leaves(state.opt_state) if x.shape == up.shape]
    assert len(moments) == 4  # two each for up and gate
    assert all(x.sharding == up.sharding for x in moments)


@pytest.mark.parametrize(('accumulation', 'dropout'), [(2, 0.0), (4, 0.3)])
def test_microbatches_change_no_gradient(sgd, accumulation, dropout):
    mesh = one_device()
    whole = tiny.batch()
    parts = {k: v.reshape(accumulation, 8 // accumulation, -1) for k, v in whole.items()}
    results = []
    for count, batch in ((1, whole), (accumulation, parts)):
        experiment = tiny.experiment(accumulation=count, model={'dropout': dropout})
        results.append(run(experiment, mesh, 1, [batch]))
    (one, one_numbers), (many, many_numbers) = results
    np.testing.assert_allclose(many_numbers[0]['loss'], one_numbers[0]['loss'], rtol=1e-6)
    same(many.params, one.params, atol=1e-5)


def test_dropout_changes_with_step_and_not_in_evaluation():
    experiment = tiny.experiment(model={'dropout': 0.3}, learning_rate=0.0)
    batch = tiny.batch()
    _, numbers = run(experiment, one_device(), 2, [batch, batch])
    assert numbers[0]['loss'] != numbers[1]['loss']
    model = build_model(experiment, tiny.VOCAB)
    inputs = batch['inputs'][0]
    ctx = step.context_of({k: v[0] for k, v in batch.items()})
    params = model.init(jax.random.key(0), inputs, ctx)
    assert (model.apply(params, inputs, ctx)[0] == model.apply(params, inputs, ctx)[0]).all()


def test_the_rate_of_dropout_is_the_asked_one():
    from transformer.context import Context
    from transformer.layers import Dropout

    x = jnp.ones((16, 50, 40))
    ctx = Context.of(x[..., 0], train=True)
    y = Dropout(0.3).apply({}, x, ctx, rngs={'dropout': jax.random.key(0)})
    assert abs(float((y == 0).mean()) - 0.3) < 0.01
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
    assert (y[0] != y[1]).any()


def test_loss_is_the_mean_over_weighted_tokens():
    experiment = tiny.experiment()
    batch = tiny.batch()
    state, train_step = start(experiment, one_device())
    model = build_model(experiment, tiny.VOCAB)
    row = {k: v[0] for k, v in batch.items()}
    logits, _, _ = model.apply({'params': state.params}, row['inputs'], step.context_of(row))
    log_probs = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probs, row['targets'][..., None], -1)[..., 0]
    want = -(picked * row['weights']).sum() / row['weights'].sum()
    _, numbers = train_step(state, batch)
    np.testing.assert_allclose(numbers['loss'], want, rtol=1e-5)
    assert numbers['tokens'] == row['weights'].sum()


@pytest.mark.parametrize('skip', [True, False])
def test_steps_that_are_not_finite(skip):
    experiment = tiny.experiment(skip_nonfinite=skip)
    bad = tiny.batch()
    bad['weights'][0, 0, 0] = np.inf
    before, _ = start(experiment, one_device())
    kept = jax.device_get((before.params, before.opt_state))
    state, numbers = run(experiment, one_device(), 1, [bad])
    assert not np.isfinite(numbers[0]['loss'])
    assert int(state.step) == 1
    if skip:
        assert numbers[0]['skipped'] == 1
        same((state.params, state.opt_state), kept, rtol=0)
        _, numbers = run(experiment, one_device(), 2, [bad, tiny.batch()])
        assert np.isfinite(numbers[1]['loss'])
        assert numbers[1]['skipped'] == 1
    else:
        assert numbers[0]['skipped'] == 0
        assert not all(jnp.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_golden_loss_of_twenty_steps():
    """Learning the same batch by heart; the numbers are those of the first version."""
    experiment = tiny.experiment(learning_rate=1e-2, steps=20)
    batch = tiny.batch()
    _, numbers = run(experiment, one_device(), 20, [batch] * 20)
    losses = [n['loss'] for n in numbers]
    np.testing.assert_allclose([losses[0], losses[9], losses[19]], GOLDEN, rtol=2e-3)


GOLDEN = [3.803164, 1.182129, 0.569879]


# The optimizer


def test_schedule():
    experiment = tiny.experiment(steps=100, learning_rate=1.0)
    rate = optim.schedule(experiment)
    rates = [float(rate(n)) for n in range(100)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    assert max(rates) == 1.0
    assert all(a >= b for a, b in zip(rates[5:], rates[6:]))
    np.testing.assert_allclose(rates[-1], 0.1, atol=1e-3)
    np.testing.assert_allclose(
        rates[52], 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * 47 / 95)), rtol=1e-4
    )


def test_decay_pulls_at_matrices_only():
    mesh = one_device()
    options = {'bias': True, 'norm': 'layernorm', 'positions': 'learned', 'tied': False}
    results = []
    for decay in (0.0, 1.0):
        experiment = tiny.experiment(
            model=options, optimizer__weight_decay=decay, learning_rate=1e-2
        )
        results.append(run(experiment, mesh, 1)[0].params)
    for path, a, b in zip(paths.names(results[0]), *map(jax.tree.leaves, results)):
        is_matrix = path.split('/')[-1] not in ('scale', 'bias')
        assert bool((a != b).any()) == is_matrix, path


def test_clipping_bounds_the_update(monkeypatch):
    updates = {}
    for clip in (0.0, 1e-3):
        experiment = tiny.experiment(optimizer__clip=clip)
        tx = optim.make(experiment)
        params = {'kernel': jnp.ones((4, 4))}
        state = tx.init(params)
        # Adam hides the scale of one gradient; two of different norm show it.
        _, state = tx.update({'kernel': jnp.full((4, 4), 100.0)}, state, params)
        updates[clip], _ = tx.update({'kernel': jnp.full((4, 4), 1e-4)}, state, params)
    assert not np.allclose(updates[0.0]['kernel'], updates[1e-3]['kernel'])


# Meshes and rules


@pytest.mark.parametrize(
    ('axes', 'field', 'accepted'),
    [
        ({'data': 3}, 'mesh.data', 'the 8 devices here'),
        ({'fsdp': 16}, 'mesh.fsdp', 'the 8 devices'),
        ({'data': 2, 'fsdp': 2}, 'mesh.data', r'data 2 \* fsdp 2 = 4'),
        ({'fsdp': -1}, 'mesh.fsdp', 'one axis only'),
        ({'tensor': 0}, 'mesh.tensor', 'above 0'),
        ({'data': 1, 'expert': 8}, 'mesh.expert', 'no model here has experts'),
    ],
)
def test_meshes_that_do_not_fit(axes, field, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        sharding.make_mesh(MeshConfig(**axes))
    assert raised.value.field == field


def test_batches_that_cannot_be_dealt_out():
    mesh = sharding.make_mesh(MeshConfig())
    with pytest.raises(ConfigError, match='multiple of 8 .* such as 8 or 16'):
        sharding.check_batch(12, 1, 16, mesh)
    with pytest.raises(ConfigError, match='multiple of 16 .* 2 microbatches'):
        sharding.check_batch(24, 2, 16, mesh)
    mesh = sharding.make_mesh(MeshConfig(data=1, context=8))
    with pytest.raises(ConfigError, match='multiple of mesh.context=8'):
        sharding.check_batch(8, 1, 12, mesh)


def test_heads_that_the_tensor_axis_does_not_divide():
    mesh = sharding.make_mesh(MeshConfig(data=1, tensor=8))
    with pytest.raises(ConfigError, match='divisor of .*mixer/key/kernel'):
        start(tiny.experiment(), mesh)


def test_every_rule_is_used_and_every_parameter_ruled():
    """Over the choices a decoder has, no rule of layout or decay is idle."""
    idle_layout = {pattern for pattern, _ in sharding.RULES}
    idle_decay = {pattern for pattern, _ in optim.DECAY}
    for options in ({}, {'positions': 'learned', 'bias': True, 'tied': False, 'norm': 'layernorm'}):
        model = tiny.model(**options)
        inputs = jnp.zeros((1, 8), jnp.int32)
        from transformer.context import Context

        params = model.init(jax.random.key(0), inputs, Context.of(inputs))['params']
        for idle, rules in ((idle_layout, sharding.RULES), (idle_decay, optim.DECAY)):
            chosen = paths.match([(p, p) for p, _ in rules], params, all_used=False)
            idle -= set(jax.tree.leaves(chosen))
    assert not idle_layout
    assert not idle_decay


def test_path_rules_refuse_what_they_do_not_cover():
    tree = {'a': {'kernel': 0}, 'b': 1}
    rules = [(r'a/kernel', 'x'), (r'b', 'y')]
    assert paths.match(rules, tree) == {'a': {'kernel': 'x'}, 'b': 'y'}
    with pytest.raises(ValueError, match="no rule matches parameter 'b'"):
        paths.match(rules[:1], tree)
    with pytest.raises(ValueError, match="rule 'c' matches no parameter"):
        paths.match([*rules, ('c', 'z')], tree)
    with pytest.raises(ValueError, match="no rule matches parameter 'a/kernel'"):
        paths.match([('kernel', 'x'), ('b', 'y')], tree)  # patterns are anchored
    mesh = one_device()
    with pytest.raises(ValueError, match='has shape'):
        sharding.param_specs({'tokens': jnp.zeros((2, 3, 4))}, mesh)
