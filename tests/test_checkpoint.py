"""Checkpoints: whole or not at all, on any mesh, and damage is noticed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from transformer.checkpoint import Checkpoints
from transformer.contents import checksums
from transformer.errors import UserError
from transformer.step import TrainState

pytestmark = pytest.mark.filterwarnings('ignore')


def state(value=0.0):
    params = {'a': jnp.arange(4096.0).reshape(64, 64) + value, 'b': {'c': jnp.ones(3) * value}}
    opt_state = (jax.tree.map(jnp.zeros_like, params), jnp.int32(7))
    return TrainState(
        jnp.int32(value), params, opt_state, jnp.array([1, 2], 'uint32'), jnp.int32(0)
    )


def abstract(shardings=None):
    def one(x):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=shardings or x.sharding)

    return jax.tree.map(one, state())


def saved(directory, losses, **options):
    checkpoints = Checkpoints(directory, **options)
    for n, loss in enumerate(losses, 1):
        checkpoints.save(n, state(float(n)), {'step': n, 'tokenizer': 'x'}, loss)
    checkpoints.close()


def files(directory, step):
    return sorted(p for p in (directory / str(step)).rglob('*') if p.is_file())


def test_restores_what_was_saved(tmp_path):
    saved(tmp_path, [None, None])
    restored, meta = Checkpoints(tmp_path).restore(abstract())
    assert meta['step'] == 2
    jax.tree.map(np.testing.assert_array_equal, restored, state(2.0))
    params, meta = Checkpoints(tmp_path, read_only=True).restore_params(abstract().params)
    jax.tree.map(np.testing.assert_array_equal, params, state(2.0).params)


def test_keeps_the_latest_and_the_best(tmp_path):
    saved(tmp_path, [3.0, 1.0, 2.0, None, None], keep_latest=2, keep_best=1)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [2, 4, 5]
    assert checkpoints.best() == 2
    assert checkpoints.validation_loss(2) == 1.0
    assert checkpoints.validation_loss(5) is None


def test_no_checkpoint_is_not_an_error(tmp_path):
    assert Checkpoints(tmp_path).restore(abstract()) is None
    assert Checkpoints(tmp_path).best() is None


def test_saving_does_not_see_later_updates(tmp_path):
    """The step reuses the state's memory while the save is still being written."""
    update = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    checkpoints, now = Checkpoints(tmp_path, keep_latest=9), state()
    for n in range(5):
        checkpoints.save(n, now, {'step': n})
        for _ in range(3):
            now = update(now)
    checkpoints.close()
    for n in range(5):
        restored, _ = Checkpoints(tmp_path, keep_latest=9).restore(abstract(), n)
        want = jax.tree.map(lambda x, n=n: x + 3 * n, state())
        jax.tree.map(np.testing.assert_array_equal, restored, want)


@pytest.mark.parametrize('shape', [(8, 1), (1, 4), (4, 2)])
def test_restores_on_another_mesh(tmp_path, shape):
    saved(tmp_path, [None])
    mesh = jax.make_mesh(
        shape,
        ('x', 'y'),
        devices=jax.devices()[: shape[0] * shape[1]],
        axis_types=(AxisType.Auto,) * 2,
    )

    def spread(x):
        spec = PartitionSpec('x', 'y') if x.ndim == 2 else PartitionSpec()
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    restored, _ = Checkpoints(tmp_path).restore(jax.tree.map(spread, abstract()))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), state(1.0))
    assert restored.params['a'].sharding.mesh == mesh
    assert checksums(restored.params) == checksums(state(1.0).params)


@pytest.mark.parametrize('precision', ['bfloat16', 'float16', 'float32'])
def test_restores_in_another_precision(tmp_path, precision):
    """What is read is what was saved, checked; only then is it rounded."""
    saved(tmp_path, [None])

    def asked(x):
        kind = precision if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype
        return jax.ShapeDtypeStruct(x.shape, kind, sharding=x.sharding)

    other = jax.tree.map(asked, abstract())
    restored, _ = Checkpoints(tmp_path).restore(other)
    want = jax.tree.map(lambda x, like: x.astype(like.dtype), state(1.0), other)
    jax.tree.map(np.testing.assert_array_equal, restored, want)
    assert restored.params['a'].dtype == precision
    params, _ = Checkpoints(tmp_path, read_only=True).restore_params(other.params)
    assert params['a'].dtype == precision


def test_numbers_of_another_kind_are_refused(tmp_path):
    saved(tmp_path, [None])
    step = jax.ShapeDtypeStruct((), 'float32', sharding=abstract().step.sharding)
    with pytest.raises(UserError, match='rest/step is int32 there and float32 here'):
        Checkpoints(tmp_path).restore(abstract().replace(step=step))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


def empty(path):
    path.write_bytes(b'')


@pytest.mark.parametrize('damage', [cut, flip, empty, lambda path: path.unlink()])
def test_damage_to_the_numbers_falls_back_and_says_so(tmp_path, damage):
    directory = tmp_path / 'checkpoints'
    saved(directory, [None, None], keep_latest=2)
    largest = max(files(directory, 2), key=lambda p: p.stat().st_size)
    damage(largest)
    said = []
    checkpoints = Checkpoints(directory, keep_latest=2, report=said.append)
    restored, meta = checkpoints.restore(abstract())
    assert meta['step'] == 1
    jax.tree.map(np.testing.assert_array_equal, restored, state(1.0))
    assert len(said) == 1
    assert 'checkpoints/2 is damaged' in said[0]
    assert 'falling back to step 1' in said[0]
    # The damaged files are kept aside, and the step can be saved again.
    assert list((tmp_path / 'damaged').iterdir())
    checkpoints.save(2, state(2.0), {'step': 2})
    checkpoints.close()
    assert Checkpoints(directory).restore(abstract())[1]['step'] == 2


@pytest.mark.long
def test_no_file_can_be_damaged_unnoticed(tmp_path):
    """Whichever file loses a bit, the result is the right numbers or the fall-back."""
    directory = tmp_path / 'checkpoints'
    saved(directory, [None, None], keep_latest=2)
    for path in files(directory, 2):
        raw = path.read_bytes()
        if not raw:
            continue
        flip(path)
        said = []
        found = Checkpoints(directory, keep_latest=2, read_only=True, report=said.append)
        restored, meta = found.restore(abstract())
        want = state(float(meta['step']))
        jax.tree.map(np.testing.assert_array_equal, restored, want)
        assert bool(said) == (meta['step'] == 1), path
        path.write_bytes(raw)


def test_another_model_is_refused_and_left_alone(tmp_path):
    saved(tmp_path / 'checkpoints', [None, None], keep_latest=2)
    checkpoints = Checkpoints(tmp_path / 'checkpoints', keep_latest=2)
    other = abstract()
    wide = jax.ShapeDtypeStruct((64, 32), 'float32', sharding=other.params['a'].sharding)
    for changed in (other.params | {'a': wide}, other.params | {'d': wide}, {'a': wide}):
        with pytest.raises(UserError, match=r'2 is of another model .*params/[abd]'):
            checkpoints.restore(other.replace(params=changed))
    assert checkpoints.steps() == [1, 2]
    assert not (tmp_path / 'damaged').exists()


def test_all_damaged_is_an_error(tmp_path):
    saved(tmp_path, [None])
    empty(max(files(tmp_path, 1), key=lambda p: p.stat().st_size))
    with pytest.raises(UserError, match='damaged .*no older one is left'):
        Checkpoints(tmp_path).restore(abstract())


def test_a_failed_save_is_survived(tmp_path, monkeypatch):
    said = []
    checkpoints = Checkpoints(tmp_path, keep_latest=3, report=said.append)
    checkpoints.save(1, state(1.0), {'step': 1})
    checkpoints.wait()

    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, 'save', full)
        checkpoints.save(2, state(2.0), {'step': 2})
    assert checkpoints.failed
    assert 'step 2 could not be saved' in said[0]
    assert 'No space left' in said[0]
    assert 'newest good checkpoint is step 1' in said[0]
    checkpoints.save(3, state(3.0), {'step': 3})
    checkpoints.close()
    assert not checkpoints.failed
    assert Checkpoints(tmp_path).steps() == [1, 3]


def test_checksums_see_every_word_and_its_place():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    base = checksums({'x': x})['x']
    assert checksums({'x': x.at[1, 2, 3].add(1e-6 * 23)})['x'] != base
    swapped = x.at[0, 0, 0].set(x[1, 1, 1]).at[1, 1, 1].set(x[0, 0, 0])
    assert checksums({'x': swapped})['x'] != base
    assert checksums({'x': x.swapaxes(0, 2)})['x'] != base
    assert list(checksums({'x': jnp.int32(3), 'y': jnp.bfloat16(1)})) == ['x', 'y']
