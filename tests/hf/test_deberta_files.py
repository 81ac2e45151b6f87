"""Files of DeBERTa as its authors wrote them, and fields of config.json that cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.hf import ours
from transformer import hf
from transformer.errors import UserError
from transformer.hf import architecture

FIXTURES = Path(__file__).with_name('fixtures')
# What the config.json of microsoft/deberta-v3-base has besides its sizes.
OF_2021 = {
    'model_type': 'deberta-v2',
    'attention_probs_dropout_prob': 0.1,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'initializer_range': 0.02,
    'relative_attention': True,
    'norm_rel_ebd': 'layer_norm',
    'share_att_key': True,
    'pos_att_type': 'p2c|c2p',
    'layer_norm_eps': 1e-7,
    'max_relative_positions': -1,
    'position_biased_input': False,
    'type_vocab_size': 0,
}
SIZES = (
    'hidden_size',
    'intermediate_size',
    'max_position_embeddings',
    'num_attention_heads',
    'num_hidden_layers',
    'position_buckets',
    'vocab_size',
)


def config_of(name):
    return json.loads((FIXTURES / name / 'config.json').read_text())


@pytest.fixture
def authors(tmp_path):
    """A directory as the authors', with the heads of pre-training; inputs and expected outputs."""
    name = 'deberta_v2/masked'
    kept = safetensors.numpy.load_file(FIXTURES / name / 'kept' / 'outputs.safetensors')
    given, expected = (
        {k.removeprefix(p): x for k, x in kept.items() if k.startswith(p)} for p in ('in.', 'out.')
    )
    config, tensors = config_of(name), ours.tensors(FIXTURES / name)
    D, rng = config['hidden_size'], np.random.default_rng(0)
    shapes = {
        'deberta.embeddings.position_embeddings.weight': (config['max_position_embeddings'], D),
        'mask_predictions.dense.weight': (D, D),
        'mask_predictions.dense.bias': (D,),
        'mask_predictions.LayerNorm.weight': (D,),
        'mask_predictions.LayerNorm.bias': (D,),
        'mask_predictions.classifier.weight': (1, D),
        'mask_predictions.classifier.bias': (1,),
    }
    tensors |= {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    directory = tmp_path / 'authors'
    directory.mkdir()
    text = json.dumps(OF_2021 | {name: config[name] for name in SIZES})
    (directory / 'config.json').write_text(text)
    safetensors.numpy.save_file(tensors, directory / 'model.safetensors')
    return directory, given, expected


def test_the_body_of_the_authors_files(authors):
    directory, given, expected = authors
    loaded = hf.load(directory, architecture='DebertaV2Model')
    found = ours.differences(loaded, given, {'last_hidden_state': expected['last_hidden_state']})
    assert found['last_hidden_state'] <= 1e-5


def test_the_masked_head_of_the_authors_files(authors, tmp_path):
    """Nothing in their config.json says which of the two masked heads the file has."""
    directory, given, expected = authors
    loaded = hf.load(directory, architecture='DebertaV2ForMaskedLM')
    assert max(ours.differences(loaded, given, expected).values()) <= 1e-5
    hf.save(loaded, tmp_path / 'again')
    config = json.loads((tmp_path / 'again' / 'config.json').read_text())
    assert config['legacy'] is False
    again = hf.load(tmp_path / 'again')
    np.testing.assert_array_equal(loaded(**given).logits, again(**given).logits)


def test_a_file_that_says_which_masked_head_it_has_is_believed(authors):
    directory, _, _ = authors
    file = directory / 'config.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | {'legacy': True}))
    with pytest.raises(UserError, match=r'are missing: .*cls\.predictions\.transform\.dense'):
        hf.load(directory, architecture='DebertaV2ForMaskedLM')


def test_token_types_change_nothing_where_there_is_no_table_of_them(authors):
    """Its tokenizers number the sentences of a pair all the same."""
    directory, given, _ = authors
    loaded = hf.load(directory, architecture='DebertaV2Model')
    types = np.arange(given['input_ids'].size).reshape(given['input_ids'].shape) % 2
    plain, typed = loaded(**given), loaded(**given, token_type_ids=types)
    np.testing.assert_array_equal(plain.last_hidden_state, typed.last_hidden_state)


def test_token_types_that_the_table_lacks_are_refused():
    loaded = hf.load(FIXTURES / 'deberta_v2/narrow')
    with pytest.raises(UserError, match='token_type_ids hold 2; accepted: 0 to 1'):
        loaded(input_ids=np.array([[3, 4]]), token_type_ids=np.array([[0, 2]]))


@pytest.mark.parametrize('version', ['deberta', 'deberta_v2'])
@pytest.mark.parametrize(
    'field, value, accepted',
    [
        ('pos_att_type', 'p2p|c2p', 'c2p, p2c'),
        ('pos_att_type', {'c2p': 1}, 'c2p, p2c'),
        ('pos_att_type', None, 'c2p, p2c or both'),
        ('num_attention_heads', 3, 'a divisor of hidden_size=16'),
        ('norm_rel_ebd', 'rms_norm', 'none'),
        ('embedding_size', 12, '16, as legacy=False'),
        ('max_relative_positions', 1.5, 'a whole number above 0'),
    ],
)
def test_fields_that_cannot_be_used(version, field, value, accepted):
    refused(f'{version}/masked', {field: value}, field, accepted)


@pytest.mark.parametrize(
    'name, field, value, accepted',
    [
        ('deberta_v2/masked', 'position_buckets', 1, '-1, or from 2 to 44'),
        ('deberta_v2/masked', 'position_buckets', 45, '-1, or from 2 to 44'),
        ('deberta_v2/masked', 'attention_head_size', 6, '8'),
        ('deberta_v2/convolution', 'conv_kernel_size', 4, 'an odd number'),
        ('deberta_v2/convolution', 'conv_groups', 3, 'a divisor of hidden_size=16'),
        ('deberta_v2/convolution', 'pooler_hidden_size', 12, '16'),
        ('deberta/masked', 'talking_head', True, 'False'),
        ('deberta/masked', 'position_buckets', 256, '-1'),
    ],
)
def test_fields_of_one_version_that_cannot_be_used(name, field, value, accepted):
    refused(name, {field: value}, field, accepted)


def test_a_norm_of_distances_that_nothing_reads():
    changes = {'relative_attention': False, 'norm_rel_ebd': 'layer_norm'}
    refused('deberta_v2/masked', changes, 'norm_rel_ebd', "'none'")


def refused(name, changes, field, accepted):
    with pytest.raises(UserError) as error:
        architecture.read(config_of(name) | changes)
    text = str(error.value)
    assert f'{field}={changes[field]!r}' in text
    assert accepted in text.split('accepted: ')[1]
