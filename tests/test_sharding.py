"""The mesh, the rules of layout, and which process feeds which rows."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from tests import tiny
from transformer import optim, paths, restore, sharding, step
from transformer.errors import ConfigError
from transformer.experiment import MeshConfig
from transformer.hf import architecture, pretrained
from transformer.models.assemble import Sizes
from transformer.models.fit import fit
from transformer.restore import build_model
from transformer.sharding import mesh as mesh_module


def mesh_of(**axes):
    """One device, or all eight."""
    devices = None if axes else jax.devices()[:1]
    return sharding.make_mesh(MeshConfig(**axes), axes.get('expert', 0), devices)


# The mesh


@pytest.mark.parametrize(
    ('axes', 'field', 'accepted'),
    [
        ({'data': 3}, 'mesh.data', r'the 8 devices here.*data 3 = 3\); nearest: .*data=8'),
        ({'fsdp': 16}, 'mesh.fsdp', r'the 8 devices.*fsdp 16 = 16\); nearest: config.mesh.fsdp=8'),
        ({'fsdp': 5, 'tensor': 2}, 'mesh.fsdp', r'fsdp 5 \* tensor 2 = 10\); nearest: .*fsdp=4'),
        ({'data': 2, 'fsdp': 2}, 'mesh.data', r'data 2 \* fsdp 2 = 4\); nearest: .*data=4'),
        ({'fsdp': -1}, 'mesh.fsdp', 'one axis only'),
        ({'tensor': 0}, 'mesh.tensor', 'above 0'),
        ({'data': 1, 'expert': 8}, 'mesh.expert', 'config.model.experts=0'),
    ],
)
def test_meshes_that_do_not_fit(axes, field, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        sharding.make_mesh(MeshConfig(**axes))
    assert raised.value.field == field


def test_neighbours_lie_along_the_inner_axes():
    mesh = mesh_of(data=2, stage=2, tensor=2)
    assert mesh.axis_names == sharding.AXES
    assert set(sharding.AXES) == {field.name for field in dataclasses.fields(MeshConfig)}
    ids = np.vectorize(lambda device: device.id)(mesh.devices)
    np.testing.assert_array_equal(ids.reshape(2, 2, 2), np.arange(8).reshape(2, 2, 2))


def slices_of(count):
    """Sixteen devices of a TPU in `count` slices, wired in squares."""
    size = 16 // count
    return [
        SimpleNamespace(
            platform='tpu',
            device_kind='TPU v5 lite',
            id=i,
            slice_index=i // size,
            process_index=i // 4,
            coords=(i % size % 4, i % size // 4, 0),
            core_on_chip=0,
        )
        for i in range(16)
    ]


def test_slices_are_joined_along_data(monkeypatch):
    arranged = {}
    monkeypatch.setattr(
        'transformer.sharding.mesh.Mesh', lambda devices, *_: arranged.update(grid=devices)
    )
    for axes in ({'data': 2, 'fsdp': 8}, {'data': 4, 'fsdp': 2, 'tensor': 2}):
        sharding.make_mesh(MeshConfig(**axes), devices=slices_of(2))
        grid = arranged['grid'].reshape(axes['data'], -1)
        for d, row in enumerate(grid):
            assert {device.slice_index for device in row} == {2 * d // axes['data']}
    with pytest.raises(ConfigError, match='a multiple of the 2 slices') as raised:
        sharding.make_mesh(MeshConfig(data=1, fsdp=16), devices=slices_of(2))
    assert raised.value.field == 'mesh.data'


# Batches


def test_batches_that_cannot_be_dealt_out():
    mesh = mesh_of(data=8)
    with pytest.raises(ConfigError, match='multiple of 8 .* such as 8 or 16'):
        sharding.check_batch(12, 1, 16, mesh)
    with pytest.raises(ConfigError, match='multiple of 16 .* 2 microbatches'):
        sharding.check_batch(24, 2, 16, mesh)
    mesh = mesh_of(data=1, context=8)
    with pytest.raises(ConfigError, match='multiple of config.mesh.context=8'):
        sharding.check_batch(8, 1, 12, mesh)
    mesh = mesh_of(data=2, fsdp=2, expert=2)
    with pytest.raises(ConfigError, match='8 devices along data, fsdp, expert'):
        sharding.check_batch(4, 1, 16, mesh)


class Processes:
    """Eight devices as if two processes had four each, and this were one of them."""

    def __init__(self, monkeypatch, process):
        whole = jax.sharding.NamedSharding.addressable_devices_indices_map
        mine = set(jax.devices()[4 * process : 4 * process + 4])

        def ours(layout, shape):
            return {d: index for d, index in whole(layout, shape).items() if d in mine}

        monkeypatch.setattr(jax.sharding.NamedSharding, 'addressable_devices_indices_map', ours)
        sharding.rows_here.cache_clear()


@pytest.mark.parametrize(
    ('axes', 'rows'),
    [
        ({'data': 8}, [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]),
        ({'data': 2, 'tensor': 4}, [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]),
        ({'data': 1, 'context': 8}, [list(range(16))] * 2),
        ({'data': 1, 'stage': 2, 'fsdp': 4}, [list(range(16))] * 2),
    ],
)
def test_rows_that_a_process_feeds(monkeypatch, axes, rows):
    mesh = mesh_of(**axes)
    for process, expected in enumerate(rows):
        with monkeypatch.context() as patch:
            Processes(patch, process)
            np.testing.assert_array_equal(sharding.rows_here(mesh, 16), expected)
    sharding.rows_here.cache_clear()


def test_batches_lie_as_they_are_described():
    mesh = mesh_of(data=2, fsdp=2, context=2)
    for name in ('llama', 'bart', 'vit'):
        batch = tiny.batch_for(tiny.member(name), A=2)
        described = step.abstract_batch(batch, mesh)
        for key, x in sharding.put_batch(batch, mesh).items():
            assert (described[key].shape, described[key].dtype) == (x.shape, x.dtype)
            assert described[key].sharding == x.sharding
            np.testing.assert_array_equal(x, batch[key])


# Parameters and state


def test_fsdp_and_tensor_split_the_state():
    experiment = tiny.experiment()
    model, tx = build_model(experiment, tiny.VOCAB), optim.make(experiment)
    mesh = mesh_of(data=1, fsdp=4, tensor=2)
    state = step.abstract_state(step.init_fn(model, tx), tx, mesh)
    up = state.params['stack']['repeat']['block_0']['mlp']['up']['kernel']
    assert up.sharding.shard_shape(up.shape) == (3, 32 // 4, 96 // 2)
    moments = [x for x in jax.tree.leaves(state.opt_state) if x.shape == up.shape]
    assert len(moments) == 4  # two each for up and gate
    assert all(x.sharding == up.sharding for x in moments)


def test_stages_split_layers():
    specs = sharding.param_specs(tiny.shapes(tiny.member('gpt')), mesh_of(data=4, stage=2))
    up = specs['stack']['repeat']['block_0']['mlp']['up']['kernel']
    assert up == PartitionSpec('stage', 'fsdp', 'tensor')
    with pytest.raises(ConfigError, match='divisor of 3, .*such as 1 or 3') as raised:
        sharding.param_specs(tiny.shapes(tiny.model()), mesh_of(data=4, stage=2))
    assert raised.value.field == 'mesh.stage'


def test_a_vocabulary_that_the_tensor_axis_does_not_divide_stays_whole():
    params = {'tokens': {'table': np.zeros((50257, 64))}}
    specs = sharding.param_specs(params, mesh_of(data=1, fsdp=4, tensor=2))
    assert specs['tokens']['table'] == PartitionSpec(None, ('fsdp', 'tensor'))
    params = {'tokens': {'table': np.zeros((50304, 64))}}
    specs = sharding.param_specs(params, mesh_of(data=1, fsdp=4, tensor=2))
    assert specs['tokens']['table'] == PartitionSpec('tensor', 'fsdp')


def test_experts_lie_along_their_axis():
    mesh = mesh_of(data=1, fsdp=2, expert=4)
    params = tiny.shapes(tiny.member('mixtral'))
    specs = sharding.param_specs(params, mesh)
    kernel = specs['stack']['repeat']['block_0']['mlp']['experts_up']['kernel']
    assert kernel == PartitionSpec('stage', 'expert', 'fsdp', 'tensor')
    mesh = mesh_of(data=1, expert=8)
    with pytest.raises(ConfigError, match='divisor of 4.*experts_') as raised:
        sharding.param_specs(params, mesh)
    assert raised.value.field == 'mesh.expert'


def test_heads_that_the_tensor_axis_does_not_divide():
    params = tiny.shapes(tiny.model())
    with pytest.raises(ConfigError, match='divisor of .*mixer/key/kernel'):
        sharding.param_specs(params, mesh_of(data=1, tensor=8))


@pytest.mark.parametrize(
    ('fields', 'axes', 'message'),
    [
        ({}, {'data': 1, 'tensor': 8}, 'config.model.heads=4, such as 2 or 4'),
        ({'kv_heads': 2, 'heads': 8}, {'data': 1, 'tensor': 8}, 'config.model.kv_heads=2'),
        ({'experts': 6}, {'data': 2, 'expert': 4}, 'config.model.experts=6, such as 2 or 3'),
    ],
)
def test_what_a_mesh_does_not_divide_is_named(fields, axes, message):
    options = dataclasses.replace(tiny.OPTIONS, **fields)
    with pytest.raises(ConfigError, match=message) as raised:
        sharding.check_model(options, mesh_of(**axes))
    assert raised.value.field in ('mesh.tensor', 'mesh.expert')


def test_two_axes_together_that_do_not_divide():
    params = {'tokens': {'table': np.zeros((257, 48))}}
    with pytest.raises(ConfigError, match=r'what times config.mesh.tensor=2 is a divisor of 48'):
        sharding.param_specs(params, SimpleNamespace(shape={'fsdp': 16, 'tensor': 2}))


def test_runs_over_split_sequences_have_the_ring():
    fields = {'mesh__data': 1, 'mesh__context': 8}
    stack = build_model(tiny.experiment(**fields), tiny.VOCAB).config.stack
    assert stack.pattern[0].mixer.backend == 'ring'
    stack = build_model(tiny.experiment(), tiny.VOCAB).config.stack
    assert stack.pattern[0].mixer.backend == 'blocked'


def test_imported_models_know_their_microbatches():
    stack = fit(tiny.member('gpt').config, Sizes(tiny.VOCAB, 16, stages=2, microbatches=4)).stack
    assert stack.microbatches == 4
    with pytest.raises(ConfigError, match='2 repeats'):
        fit(tiny.member('gpt').config, Sizes(tiny.VOCAB, 16, stages=3, microbatches=4))


def test_after_a_pipeline_all_devices_evaluate():
    mesh = {'mesh__data': 1, 'mesh__fsdp': 2, 'mesh__stage': 4}
    experiment = tiny.experiment(batch_size=8, accumulation=4, **mesh)
    plain = dataclasses.replace(experiment, mesh=restore.without_stages(experiment.mesh))
    found, _ = restore._laid_out(plain, tiny.shapes(tiny.model()), 0)
    assert (found.size, found.shape['fsdp'], found.shape['stage']) == (8, 8, 1)


def test_hosts_of_gpus_are_no_slices():
    gpus = [SimpleNamespace(platform='gpu', slice_index=i // 8, id=i) for i in range(16)]
    assert mesh_module._slices(gpus) == 1
    assert mesh_module._slices(slices_of(2)) == 2


def test_moments_may_wait_on_the_host():
    mesh = mesh_of(data=2, fsdp=4)

    def run(offload):
        experiment = tiny.experiment(optimizer__offload=offload, skip_nonfinite=True)
        model, tx = build_model(experiment, tiny.VOCAB), optim.make(experiment)
        init = step.init_fn(model, tx)
        layout = jax.tree.map(lambda x: x.sharding, step.abstract_state(init, tx, mesh, offload))
        state = jax.jit(init, out_shardings=layout)(jax.random.key(0))
        update = step.jit_train_step(step.train_step_fn(model, tx, experiment), layout, mesh)
        for _ in range(3):
            state, numbers = update(state, sharding.put_batch(tiny.batch(), mesh))
        return state, float(numbers['loss'])

    (plain, loss), (waiting, other) = run(False), run(True)
    assert other == loss
    memories = [
        {x.sharding.memory_kind for x in jax.tree.leaves(part) if x.ndim}
        for part in (plain.opt_state, waiting.opt_state, waiting.params)
    ]
    assert memories == [{'device'}, {'pinned_host'}, {'device'}]


# Rules


def test_every_rule_is_used_and_every_parameter_ruled():
    """Over all families and the choices of decoders, no rule of layout or decay is idle."""
    variants = [{}, {'positions': 'learned', 'bias': True, 'tied': False, 'norm': 'layernorm'}]
    variants += [{'positions': 't5'}, {'embed_norm': True, 'experts': 2, 'bias': True}]
    models = [*map(tiny.member, tiny.FAMILIES), *(tiny.model(**options) for options in variants)]
    fixtures = Path(__file__).parent / 'hf' / 'fixtures'
    for name in ('deit/taught', 'mamba/biases', 'switch/capacity'):  # what only these have
        values = json.loads((fixtures / name / 'config.json').read_text())
        values |= {'router_bias': True} if name == 'switch/capacity' else {}
        made = architecture.read(values)
        models.append(made.model(pretrained.sizes(made, 'float32')))
    idle_layout = {pattern for pattern, *_ in sharding.RULES}
    idle_decay = {pattern for pattern, _ in optim.DECAY}
    for model in models:
        params = tiny.shapes(model)
        for idle, rules in ((idle_layout, sharding.RULES), (idle_decay, optim.DECAY)):
            chosen = paths.match([(p, p) for p, *_ in rules], params, all_used=False)
            idle -= set(jax.tree.leaves(chosen))
        sharding.param_specs(params, mesh_of())  # every rule has as many axes as the parameter
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
    with pytest.raises(ValueError, match='has shape'):
        sharding.param_specs({'tokens': {'table': jnp.zeros((2, 3, 4))}}, mesh_of())
