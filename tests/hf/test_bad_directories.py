"""What is wrong with a directory is told by its name; nothing in it is executed."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from transformer import hf
from transformer.errors import UserError
from transformer.hf import files

FIXTURES = Path(__file__).with_name('fixtures')


@pytest.fixture
def directory(tmp_path):
    """A copy of a small GPT-2."""
    target = tmp_path / 'checkpoint'
    shutil.copytree(FIXTURES / 'gpt2' / 'lm', target)
    return target


def set_config(directory: Path, **fields) -> None:
    file = directory / 'config.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def change_tensors(directory: Path, change) -> None:
    tensors = safetensors.numpy.load_file(directory / 'model.safetensors')
    change(tensors)
    safetensors.numpy.save_file(tensors, directory / 'model.safetensors')


def shard(directory: Path) -> dict:
    """Splits the weights in two files with an index; returns the index."""
    tensors = safetensors.numpy.load_file(directory / 'model.safetensors')
    (directory / 'model.safetensors').unlink()
    names, weight_map = sorted(tensors), {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f'model-0000{i + 1}-of-00002.safetensors'
        safetensors.numpy.save_file({n: tensors[n] for n in part}, directory / file)
        weight_map |= dict.fromkeys(part, file)
    index = {'metadata': {}, 'weight_map': weight_map}
    (directory / files.INDEX).write_text(json.dumps(index))
    return index


def refused(directory: Path, *phrases: str, **how) -> None:
    with pytest.raises(UserError) as caught:
        hf.load(directory, **how)
    for phrase in phrases:
        assert phrase in str(caught.value), caught.value


def test_shards_load_as_one_file_does(directory):
    whole = hf.load(directory).params['tokens']['table']
    shard(directory)
    assert np.array_equal(hf.load(directory).params['tokens']['table'], whole)


def test_pickled_weights_are_refused_with_the_way_to_convert(directory):
    (directory / 'model.safetensors').rename(directory / 'pytorch_model.bin')
    refused(directory, 'pytorch_model.bin', 'model.safetensors', 'save_pretrained')


def test_no_weights(directory):
    (directory / 'model.safetensors').unlink()
    refused(directory, 'no model.safetensors')


@pytest.mark.parametrize('keep', [0, 5, 40, 0.9])
def test_truncated_weights(directory, keep):
    file = directory / 'model.safetensors'
    data = file.read_bytes()
    file.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    refused(directory, 'model.safetensors is truncated or corrupt')


def test_corrupt_header(directory):
    file = directory / 'model.safetensors'
    data = bytearray(file.read_bytes())
    data[10:30] = b'\xff' * 20
    file.write_bytes(data)
    refused(directory, 'model.safetensors is truncated or corrupt')


def test_missing_shard(directory):
    shard(directory)
    (directory / 'model-00002-of-00002.safetensors').unlink()
    refused(directory, 'lacks model-00002-of-00002.safetensors')


def test_index_lists_a_tensor_that_its_file_lacks(directory):
    index = shard(directory)
    index['weight_map']['h.7.ln_1.weight'] = 'model-00001-of-00002.safetensors'
    (directory / files.INDEX).write_text(json.dumps(index))
    refused(directory, "lacks tensor 'h.7.ln_1.weight'")


@pytest.mark.parametrize('path', ['../outside.safetensors', '/etc/passwd', 'a/b.safetensors', '..'])
def test_index_that_leaves_the_directory(directory, path):
    index = shard(directory)
    index['weight_map']['transformer.wte.weight'] = path
    (directory / files.INDEX).write_text(json.dumps(index))
    refused(directory, 'transformer.wte.weight', path, 'a file of that directory')


def test_damaged_index(directory):
    shard(directory)
    (directory / files.INDEX).write_text('{"weight_map": ')
    refused(directory, files.INDEX, 'cannot be read')


def test_missing_tensor_is_named(directory):
    change_tensors(directory, lambda t: t.pop('transformer.h.1.mlp.c_fc.weight'))
    refused(directory, 'are missing', 'transformer.h.1.mlp.c_fc.weight')


def test_tensor_of_the_wrong_shape_is_named(directory):
    def transpose(tensors):
        name = 'transformer.h.1.mlp.c_fc.weight'
        tensors[name] = np.ascontiguousarray(tensors[name].T)

    change_tensors(directory, transpose)
    refused(directory, 'wrong shape', 'transformer.h.1.mlp.c_fc.weight', '(64, 16)', '(16, 64)')


def test_tensor_left_over_is_named(directory):
    change_tensors(directory, lambda t: t.update({'transformer.h.2.ln_1.weight': np.ones(16)}))
    set_config(directory, n_layer=2)
    refused(directory, 'left over', 'transformer.h.2.ln_1.weight')


def test_tensor_of_a_type_that_no_parameter_has(directory):
    change_tensors(
        directory, lambda t: t.update({'transformer.wte.weight': np.ones((43, 16), np.int8)})
    )
    refused(directory, 'transformer.wte.weight', 'I8')


def test_tensor_of_another_head_is_passed_over(directory):
    change_tensors(directory, lambda t: t.update({'score.weight': np.ones((2, 16), np.float32)}))
    assert hf.load(directory).architecture.name == 'GPT2LMHeadModel'


def test_unknown_model_type_names_the_nearest(directory):
    set_config(directory, model_type='gpt22')
    refused(directory, "model_type='gpt22'", "nearest is 'gpt2'", 'llama')


def test_unknown_architecture(directory):
    set_config(directory, architectures=['GPT2DoubleHeadsModel'])
    refused(directory, 'GPT2DoubleHeadsModel', 'GPT2LMHeadModel')
    assert hf.load(directory, architecture='GPT2LMHeadModel').params


def test_without_a_named_architecture_the_tensors_tell_it(directory):
    set_config(directory, architectures=None)
    assert hf.load(directory).architecture.name == 'GPT2LMHeadModel'
    classes = {'score.weight': np.ones((2, 16), np.float32)}
    change_tensors(directory, lambda t: t.update(classes))
    assert hf.load(directory).architecture.name == 'GPT2ForSequenceClassification'


def test_unknown_option_is_named_and_can_be_allowed(directory):
    set_config(directory, rotary_twist=3)
    refused(directory, 'rotary_twist=3', "allow=['rotary_twist']")
    assert hf.load(directory, allow=['rotary_twist']).params


def test_known_option_with_a_value_that_is_not_implemented(directory):
    set_config(directory, activation_function='swoosh')
    refused(directory, "activation_function='swoosh'", 'gelu_new')
    set_config(directory, activation_function='gelu_new', add_cross_attention=True)
    refused(directory, 'add_cross_attention=True', 'False')
    set_config(directory, add_cross_attention=False, quantization_config={'bits': 4})
    refused(directory, 'quantization_config')


@pytest.mark.parametrize('value', ['16', 0, -1, None, 2.5, True])
def test_option_of_the_wrong_type(directory, value):
    set_config(directory, n_layer=value)
    refused(directory, 'n_layer', 'a whole number above 0')


@pytest.mark.parametrize(
    ('fields', 'phrase'),
    [
        ({'id2label': ['a', 'b']}, 'id2label'),
        ({'id2label': {'0': 'a', '5': 'b'}}, 'id2label'),
        ({'id2label': {'x': 'a'}}, 'id2label'),
        ({'id2label': {'0': ['a'], '1': None}}, 'id2label'),
        ({'id2label': {'0': 'a', '1': 'b'}, 'num_labels': 5}, 'num_labels=5'),
        ({'id2label': None, 'num_labels': '3'}, "num_labels='3'"),
        ({'activation_function': ['gelu']}, 'activation_function'),
        ({'n_inner': '64'}, "n_inner='64'"),
        ({'n_head': 10**30}, 'n_head'),
        ({'layer_norm_epsilon': float('nan')}, 'layer_norm_epsilon'),
        ({'model_type': []}, 'model_type'),
    ],
)
def test_fields_that_hold_what_they_cannot(fields, phrase, tmp_path):
    shutil.copytree(FIXTURES / 'gpt2' / 'classes', tmp_path / 'classes')
    set_config(tmp_path / 'classes', **fields)
    refused(tmp_path / 'classes', phrase)


def test_tensor_that_is_there_twice(directory):
    index = shard(directory)
    first, second = sorted(set(index['weight_map'].values()))
    tensors = safetensors.numpy.load_file(directory / second)
    tensors |= safetensors.numpy.load_file(directory / first)
    safetensors.numpy.save_file(tensors, directory / second)
    refused(directory, 'is there twice', first, second)


def test_bytes_are_no_parameters(directory):
    name = 'transformer.h.1.mlp.c_fc.weight'
    change_tensors(directory, lambda t: t.update({name: t[name].astype(np.uint8)}))
    refused(directory, name, 'U8')


def test_a_revision_is_of_a_hub_id(directory):
    refused(directory, "revision='main'", 'hub id', revision='main')


def test_damaged_config(directory):
    (directory / 'config.json').write_text('{"model_type": "gpt2", ')
    refused(directory, 'config.json cannot be read')
    (directory / 'config.json').write_text('[1, 2]')
    refused(directory, 'a JSON object')
    (directory / 'config.json').unlink()
    refused(directory, 'no config.json')


def test_no_such_directory(tmp_path):
    refused(tmp_path / 'nothing', 'there is no directory')


def test_hub_id_without_network_or_library(monkeypatch):
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        refused('someone/some-model', 'there is no directory', 'transformer[hf]')
        return
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    refused('someone/some-model', 'there is no directory', 'hub')


def test_tokenizer_with_more_tokens_than_the_embedding(directory):
    import tokenizers

    model = tokenizers.models.WordLevel({f't{i}': i for i in range(44)}, unk_token='t0')
    tokenizers.Tokenizer(model).save(str(directory / 'tokenizer.json'))
    refused(directory, 'tokens, the embedding 43')


def test_nothing_in_the_directory_is_executed(directory, tmp_path):
    witness = tmp_path / 'executed'
    code = f'open({str(witness)!r}, "w").close()\n'
    for name in ('modeling_own.py', 'configuration_own.py', 'tokenization_own.py', '__init__.py'):
        (directory / name).write_text(code)
    set_config(directory, auto_map={'AutoModelForCausalLM': 'modeling_own.OwnModel'})
    before = set(sys.modules)
    assert hf.load(directory).params
    assert not witness.exists()
    assert not any('own' in name.split('_') for name in set(sys.modules) - before)


def test_unknown_dtype(directory):
    refused(directory, "dtype='int8'", 'float32', dtype='int8')


def test_save_refuses_a_directory_that_is_not_empty(directory, tmp_path):
    loaded = hf.load(directory)
    with pytest.raises(UserError, match='there already'):
        hf.save(loaded, directory)
    target = tmp_path / 'new'
    target.mkdir()
    hf.save(loaded, target)  # an empty one is taken
    assert (target / 'model.safetensors').is_file()


def test_save_that_fails_leaves_nothing(directory, tmp_path, monkeypatch):
    loaded = hf.load(directory)

    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('safetensors.numpy.save_file', full)
    with pytest.raises(UserError, match='No space left'):
        hf.save(loaded, tmp_path / 'new')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['checkpoint']


IDS = np.array([[3, 4, 5]])


@pytest.mark.parametrize(
    ('inputs', 'phrases'),
    [
        ({'ids': IDS}, ('ids is no input', 'input_ids')),
        ({}, ('input_ids are missing',)),
        ({'input_ids': IDS[0]}, ('shape 3', '2-D')),
        ({'input_ids': IDS * 1.0}, ('float64', 'whole numbers')),
        ({'input_ids': IDS + 40}, ('43', '0 to 42')),
        ({'input_ids': -IDS}, ('-3', '0 to 42')),
        ({'input_ids': IDS, 'attention_mask': np.ones((1, 4), int)}, ('(1, 4)', '(1, 3)')),
        ({'input_ids': IDS, 'attention_mask': IDS}, ('other numbers than 0 and 1',)),
        ({'input_ids': IDS, 'pixel_values': IDS}, ('pixel_values is no input',)),
        ({'input_ids': np.ones((1, 25), int)}, ('25', '24')),
        ({'input_ids': [[1, 2], [3]]}, ('input_ids', 'different lengths')),
        ({'input_ids': [['a', 'b']]}, ('input_ids', 'accepted: numbers')),
        ({'input_ids': IDS, 'position_ids': IDS + 90}, ('position_ids', '93', '0 to 23')),
        ({'input_ids': IDS, 'position_ids': -IDS}, ('position_ids', '-3')),
        ({'input_ids': IDS, 'position_ids': IDS / 2}, ('position_ids', 'whole numbers')),
        ({'input_ids': IDS, 'position_ids': IDS[:, :2]}, ('position_ids', '(1, 2)')),
    ],
)
def test_inputs_that_the_model_cannot_read(inputs, phrases):
    loaded = hf.load(FIXTURES / 'gpt2' / 'lm')
    with pytest.raises(UserError) as caught:
        loaded(**inputs)
    for phrase in phrases:
        assert phrase in str(caught.value), caught.value
