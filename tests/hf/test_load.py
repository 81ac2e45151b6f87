"""Loading: onto a mesh, in another type, from shards; what comes out of a fresh interpreter."""

import json
import shutil
import types
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from transformer import hf, paths, sharding
from transformer.errors import ConfigError, UserError
from transformer.experiment import MeshConfig
from transformer.hf import files, verify, weights

FIXTURES = Path(__file__).with_name('fixtures')
GPT2 = FIXTURES / 'gpt2' / 'lm'
IDS = np.arange(3, 27).reshape(2, 12)


@pytest.fixture(scope='module')
def single():
    return hf.load(GPT2, dtype='float32')


def test_on_a_mesh_as_on_one_device(single, tmp_path):
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=-1))
    # 43 tokens cannot be shared by two devices; a directory with 44 can.
    shutil.copytree(GPT2, tmp_path / 'even')
    tensors = safetensors.numpy.load_file(GPT2 / 'model.safetensors')
    table = tensors['transformer.wte.weight']
    tensors['transformer.wte.weight'] = np.concatenate([table, table[:1]])
    safetensors.numpy.save_file(tensors, tmp_path / 'even' / 'model.safetensors')
    config = json.loads((GPT2 / 'config.json').read_text()) | {'vocab_size': 44}
    (tmp_path / 'even' / 'config.json').write_text(json.dumps(config))
    one = hf.load(tmp_path / 'even', dtype='float32')
    many = hf.load(tmp_path / 'even', mesh=mesh, dtype='float32')
    for path, x in paths.leaves(many.params).items():
        np.testing.assert_array_equal(x, paths.leaves(one.params)[path])
    kernel = many.params['stack']['repeat']['block_0']['mlp']['up']['kernel']
    assert kernel.sharding.shard_shape(kernel.shape) == (2, 8, 32)
    assert len(kernel.sharding.device_set) == 8
    with jax.set_mesh(mesh):
        shared = many(input_ids=IDS).logits
    np.testing.assert_allclose(shared, one(input_ids=IDS).logits, rtol=1e-5, atol=1e-5)


def test_a_mesh_that_does_not_fit_is_refused():
    mesh = sharding.make_mesh(MeshConfig(data=1, tensor=8))
    with pytest.raises(ConfigError, match=r'mesh\.tensor=8'):
        hf.load(GPT2, mesh=mesh)


def test_each_device_reads_only_its_share(monkeypatch, tmp_path):
    """In memory at a time: one share of one parameter, and one tensor."""
    made = []
    aligned = weights._aligned

    def watched(shape, kind):
        made.append(int(np.prod(shape)))
        return aligned(shape, kind)

    monkeypatch.setattr(weights, '_aligned', watched)
    config = json.loads((GPT2 / 'config.json').read_text()) | {'vocab_size': 40}
    shutil.copytree(GPT2, tmp_path / 'even')
    tensors = safetensors.numpy.load_file(GPT2 / 'model.safetensors')
    tensors['transformer.wte.weight'] = tensors['transformer.wte.weight'][:40].copy()
    safetensors.numpy.save_file(tensors, tmp_path / 'even' / 'model.safetensors')
    (tmp_path / 'even' / 'config.json').write_text(json.dumps(config))
    mesh = sharding.make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    loaded = hf.load(tmp_path / 'even', mesh=mesh)
    largest = max(x.size for x in jax.tree.leaves(loaded.params))
    assert max(made) <= largest // 8


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16', None])
def test_dtype(single, dtype):
    loaded = hf.load(GPT2, dtype=dtype)
    expected = dtype or 'float32'
    assert {str(x.dtype) for x in jax.tree.leaves(loaded.params)} == {expected}
    assert loaded.model.config.stack.dtype == expected
    logits = np.asarray(loaded(input_ids=IDS).logits, np.float32)
    theirs = np.asarray(single(input_ids=IDS).logits)
    tolerance = {'float32': 0, 'bfloat16': 0.1, 'float16': 0.02}[expected]
    assert np.abs(logits - theirs).max() <= tolerance * np.abs(theirs).max()


def test_shards_of_a_save_come_back(single, tmp_path):
    hf.save(single, tmp_path / 'many', shard_bytes=8000)
    shards = sorted(p.name for p in (tmp_path / 'many').glob('*.safetensors'))
    assert len(shards) > 2
    index = json.loads((tmp_path / 'many' / files.INDEX).read_text())
    assert set(index['weight_map'].values()) == set(shards)
    again = hf.load(tmp_path / 'many')
    for path, x in paths.leaves(again.params).items():
        np.testing.assert_array_equal(x, paths.leaves(single.params)[path])


def test_another_head_of_the_same_checkpoint():
    hidden = hf.load(GPT2, architecture='GPT2Model')(input_ids=IDS)
    assert hidden.logits is None
    whole = hf.load(GPT2)(input_ids=IDS)
    np.testing.assert_allclose(hidden.last_hidden_state, whole.last_hidden_state, rtol=1e-6)


def test_padding_changes_nothing_where_there_is_text(single):
    short = single(input_ids=IDS[:, :8]).logits
    mask = np.ones_like(IDS)
    mask[:, 8:] = 0
    padded = single(input_ids=IDS, attention_mask=mask).logits[:, :8]
    np.testing.assert_allclose(padded, short, rtol=1e-5, atol=1e-5)


def test_places_can_be_given(single):
    places = np.arange(12)[None] + 3
    moved = single(input_ids=IDS, position_ids=np.broadcast_to(places, IDS.shape)).logits
    assert np.abs(moved - single(input_ids=IDS).logits).max() > 0.01
    same = single(input_ids=IDS, position_ids=np.broadcast_to(places - 3, IDS.shape)).logits
    np.testing.assert_array_equal(same, single(input_ids=IDS).logits)


def test_a_decoder_classifies_at_the_last_token_that_is_no_padding():
    loaded = hf.load(FIXTURES / 'gpt2' / 'classes', dtype='float32')
    padded = np.concatenate([IDS[:, :8], np.zeros((2, 4), int)], axis=1)  # and no mask is given
    short = loaded(input_ids=IDS[:, :8]).logits
    np.testing.assert_allclose(loaded(input_ids=padded).logits, short, rtol=1e-5, atol=1e-5)


def with_tensors(source, target, change):
    """A copy of a directory with other tensors."""
    shutil.copytree(source, target)
    tensors = safetensors.numpy.load_file(source / 'model.safetensors')
    change(tensors)
    safetensors.numpy.save_file(tensors, target / 'model.safetensors')
    return target


@pytest.mark.parametrize(
    ('name', 'kernel', 'table'),
    [
        ('gpt2/lm', 'lm_head.weight', 'transformer.wte.weight'),
        (
            'bert/masked',
            'cls.predictions.decoder.weight',
            'bert.embeddings.word_embeddings.weight',
        ),
    ],
)
def test_a_head_of_its_own_is_read_whatever_the_config_says(name, kernel, table, tmp_path):
    tied = hf.load(FIXTURES / name, dtype='float32')
    same = with_tensors(
        FIXTURES / name, tmp_path / 'same', lambda t: t.update({kernel: t[table].copy()})
    )
    own = with_tensors(FIXTURES / name, tmp_path / 'own', lambda t: t.update({kernel: -t[table]}))
    if name == 'bert/masked':  # what version 5 saves beside it
        bias = {'cls.predictions.decoder.bias': tied.params['head']['bias']}
        for path in (same, own):
            tensors = safetensors.numpy.load_file(path / 'model.safetensors')
            tensors |= {key: np.asarray(x) for key, x in bias.items()}
            safetensors.numpy.save_file(tensors, path / 'model.safetensors')
    expected = np.asarray(tied(input_ids=IDS).logits)
    np.testing.assert_array_equal(hf.load(same)(input_ids=IDS).logits, expected)
    assert not any(path == 'head/kernel' for path in paths.leaves(hf.load(same).params))
    assert 'head/kernel' in paths.leaves(hf.load(own).params)
    bias = np.asarray(tied.params['head']['bias']) if 'head' in tied.params else 0.0
    negative = -(expected - bias) + bias
    np.testing.assert_allclose(hf.load(own)(input_ids=IDS).logits, negative, rtol=1e-4, atol=1e-4)


def test_scores_of_classes_go_by_their_names():
    from transformer.initial import by_name

    kernel = jax.numpy.arange(6.0).reshape(2, 3)
    found = {'head/classes/kernel': kernel, 'stack/norm/scale': kernel}
    theirs = ('pos', 'neu', 'neg')
    moved = by_name(found, theirs, ('neg', 'neu', 'pos'))
    np.testing.assert_array_equal(moved['head/classes/kernel'], kernel[:, ::-1])
    np.testing.assert_array_equal(moved['stack/norm/scale'], kernel)
    assert set(by_name(found, theirs, ('a', 'b', 'c'))) == {'stack/norm/scale'}
    for names in (theirs, ('LABEL_0', 'LABEL_1', 'LABEL_2')):
        np.testing.assert_array_equal(by_name(found, names, theirs)['head/classes/kernel'], kernel)


def test_two_biases_of_a_tied_head_are_refused(tmp_path):
    def twice(tensors):
        tensors['cls.predictions.decoder.bias'] = tensors['cls.predictions.bias'] + 1

    directory = with_tensors(FIXTURES / 'bert' / 'masked', tmp_path / 'twice', twice)
    with pytest.raises(UserError, match=r'cls\.predictions\.decoder\.bias.* differ'):
        hf.load(directory)


def test_verify_does_not_pass_what_is_no_number(monkeypatch, capsys):
    flags = types.SimpleNamespace(source='', architecture='', allow=(), tolerance=1e-4, json=False)
    for value, code in ((1e-6, 0), (1e-3, 1), (float('nan'), 1)):
        found = {'stack 0': 1e-7, 'logits': value}
        monkeypatch.setattr(verify, 'differences', lambda *_, found=found: found)
        assert verify.report(flags) == code
    assert 'DIFFERENT: nan' in capsys.readouterr().out
