"""What an evaluation changes of a run: lengths of rows, parts of rows, the pace of writing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import evaluation, losses, pace, restore, workdir
from transformer.checkpoint import Checkpoints
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, default_config
from transformer.step import TrainState

TASK = {'vocab': tiny.VOCAB, 'classes': [], 'target_context': 0}


def config_of(positions='rope', family='decoder', objective=''):
    config = default_config(family, objective)
    small = {'width': 16, 'depth': 2, 'heads': 2, 'positions': positions}
    config.model.update(small)
    config.context, config.unroll = tiny.CONTEXT, 1
    return config


def changed(config, **fields):
    overrides = {name.replace('__', '.'): str(value) for name, value in fields.items()}
    return evaluation.changed(config, overrides, TASK)


def test_what_is_measured_can_change():
    config = config_of()
    before = config.to_json()
    fields = {'context': 64, 'data__path': 'my.txt', 'model__rope_scaling': 'ntk', 'batch_size': 3}
    experiment = changed(config, **fields)
    assert (experiment.context, experiment.batch_size) == (64, 3)
    assert (experiment.data.path, experiment.model.rope_scaling) == ('my.txt', 'ntk')
    assert config.to_json() == before


@pytest.mark.parametrize(
    'field',
    ['model.width', 'model.positions', 'data.vocab', 'data.workers', 'steps', 'objective.kind'],
)
def test_what_the_model_is_cannot(field):
    config = config_of()
    value = {'model.positions': 'alibi', 'objective.kind': 'prefix'}.get(field, '8')
    with pytest.raises(UserError, match=rf'--config.{field}: .* accepted: context, .*data.path'):
        evaluation.changed(config, {field: value}, TASK)


def test_a_mistyped_field_names_the_nearest():
    with pytest.raises(UserError, match=r'did you mean config\.context\?'):
        changed(config_of(), contxt=8)
    with pytest.raises(ConfigError, match=r"config.model.rope_scaling='ntk' .*positions='rope'"):
        changed(config_of('alibi'), model__rope_scaling='ntk')


def test_learned_places_end_where_training_did():
    learned = config_of('learned')
    assert changed(learned, context=tiny.CONTEXT - 1).context == tiny.CONTEXT - 1
    message = r"config\.context=17 .* at most 16, .*config\.model\.positions='learned'"
    with pytest.raises(ConfigError, match=message):
        changed(learned, context=tiny.CONTEXT + 1)
    both = config_of('learned', 'encoder_decoder', 'seq2seq')
    with pytest.raises(ConfigError, match=r'config\.target_context=9 .* at most 8'):
        evaluation.changed(both, {'target_context': '9'}, TASK | {'target_context': 8})


def test_images_have_no_context():
    config = default_config('vision')
    with pytest.raises(UserError, match='--config.context: .* accepted: batch_size'):
        changed(config, context=8)
    assert changed(config, batch_size=2).batch_size == 2


def saved(directory, config):
    """A run of that config, as if it had been trained."""
    model = restore.build_model(Experiment.from_config(config), tiny.VOCAB)
    params = tiny.filled(model)
    directory.mkdir()
    workdir.save_config(directory, config)
    workdir.save_task(directory, tiny.VOCAB, (), 0)
    zero = jnp.zeros((), jnp.int32)
    state = TrainState(zero, params, (), jax.random.key_data(jax.random.key(0)), zero)
    checkpoints = Checkpoints(directory / workdir.CHECKPOINTS)
    meta = {'step': 0, 'tokenizer': '', 'config': config.to_dict()}
    checkpoints.save(0, state, meta | {'data': {'next_index': 0, 'digest': ''}}, None)
    checkpoints.wait()
    checkpoints.close()
    return model, params


@pytest.mark.parametrize(('positions', 'length'), [('learned', 8), ('alibi', 32)])
def test_a_run_reads_rows_of_other_lengths(tmp_path, positions, length):
    """What both lengths hold has the same scores: nothing of the model changes with them."""
    config = config_of(positions)
    model, params = saved(tmp_path / 'run', config)
    run = restore.load(tmp_path / 'run', None, 'latest', changed(config, context=length))
    assert run.model.config.context == max(length, tiny.CONTEXT)
    rows = tiny.one(tiny.batch(B=2, T=max(length, tiny.CONTEXT)))

    def scores(model, params, T):
        cut = jax.tree.map(lambda x: x[:, :T], rows)
        return jax.jit(lambda p: model.apply({'params': p}, cut, method='forward')[0])(params)

    got, want = scores(run.model, run.params, length), scores(model, params, tiny.CONTEXT)
    both = min(length, tiny.CONTEXT)
    np.testing.assert_allclose(got[:, :both], want[:, :both], rtol=1e-4, atol=1e-5)


def test_parts_of_rows_make_the_whole():
    weights = np.random.default_rng(0).random((3, 10), np.float32)
    parts = losses.parts(jnp.asarray(weights), 4)
    np.testing.assert_array_equal(sum(parts), weights)
    places = [np.flatnonzero(np.any(part != 0, axis=0)).tolist() for part in map(np.asarray, parts)]
    assert places == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]]
    assert losses.parts(jnp.asarray(weights), 0) == []
    with pytest.raises(ValueError, match='11 parts of rows of 10 tokens'):
        losses.parts(jnp.asarray(weights), 11)


def test_the_pace_of_writing():
    model, params = tiny.made('llama', decode=True)
    found = dict(pace.pace(model, params, rows=3, context=tiny.CONTEXT))
    assert found['decode/tokens_per_second'] > 0
    layers, kinds, kv_heads, width = 2, 2, 2, 4
    numbers = layers * kinds * kv_heads * width * 3 * tiny.CONTEXT
    assert found['decode/cache_bytes'] == 4 * numbers
    for rows, context, message in ((0, 16, '0 rows'), (1, 3, r'config\.context=3')):
        with pytest.raises(UserError, match=message):
            dict(pace.pace(model, params, rows, context))


def test_a_state_does_not_grow_with_the_text():
    model = tiny.member('retnet', decode=True)
    assert pace.cache_bytes(model, 2, 8) == pace.cache_bytes(model, 2, 16) > 0
