"""Files of BERT's family as earlier versions of the original's library, and Google, wrote them."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.hf import ours
from transformer import hf
from transformer.errors import UserError

FIXTURES = Path(__file__).with_name('fixtures')


def read(name):
    """The config.json, the tensors, the inputs and the expected outputs of a fixture."""
    directory = FIXTURES / name
    config = json.loads((directory / 'config.json').read_text())
    kept = safetensors.numpy.load_file(directory / 'kept' / 'outputs.safetensors')
    parts = [
        {k.removeprefix(p): x for k, x in kept.items() if k.startswith(p)} for p in ('in.', 'out.')
    ]
    return config, ours.tensors(directory), *parts


def write(directory, config, tensors):
    directory.mkdir()
    (directory / 'config.json').write_text(json.dumps(config))
    safetensors.numpy.save_file(tensors, directory / 'model.safetensors')
    return directory


def random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


OF_2018 = {  # all fields of the config.json of bert-base-multilingual-cased but its sizes
    'architectures': ['BertForMaskedLM'],
    'attention_probs_dropout_prob': 0.1,
    'directionality': 'bidi',
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'initializer_range': 0.02,
    'layer_norm_eps': 1e-12,
    'model_type': 'bert',
    'pad_token_id': 0,
    'pooler_fc_size': 768,
    'pooler_num_attention_heads': 12,
    'pooler_num_fc_layers': 3,
    'pooler_size_per_head': 128,
    'pooler_type': 'first_token_transform',
    'type_vocab_size': 2,
}
SIZES = (
    'hidden_size',
    'intermediate_size',
    'max_position_embeddings',
    'num_attention_heads',
    'num_hidden_layers',
    'vocab_size',
)


def test_the_first_checkpoints(tmp_path):
    config, tensors, given, expected = read('bert/masked')
    D, V = config['hidden_size'], config['vocab_size']
    old = {
        name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('Norm.bias', 'Norm.beta'): x
        for name, x in tensors.items()
    }
    old |= {
        'bert.pooler.dense.weight': random(D, D),
        'bert.pooler.dense.bias': random(D),
        'cls.seq_relationship.weight': random(2, D),
        'cls.seq_relationship.bias': random(2),
        'cls.predictions.decoder.weight': tensors['bert.embeddings.word_embeddings.weight'],
        'bert.embeddings.position_ids': np.arange(config['max_position_embeddings'])[None],
    }
    assert 'bert.embeddings.LayerNorm.gamma' in old
    assert old['cls.predictions.decoder.weight'].shape == (V, D)
    directory = write(tmp_path / 'old', OF_2018 | {name: config[name] for name in SIZES}, old)
    found = ours.differences(hf.load(directory), given, expected)
    assert set(found) == set(expected)
    assert max(found.values()) <= 1e-5, found
    # The same file has a pooler, which `BertModel` reads.
    pooled = hf.load(directory, architecture='BertModel')(**given)
    first = np.asarray(pooled.last_hidden_state)[:, 0]
    want = np.tanh(first @ old['bert.pooler.dense.weight'].T + old['bert.pooler.dense.bias'])
    np.testing.assert_allclose(pooled.pooler_output, want, rtol=1e-4, atol=1e-5)


POOLER_BIAS = 'bert.pooler.dense.bias'


def untied(tmp_path, biases):
    config, tensors, given, _ = read('bert/masked')
    del tensors['cls.predictions.bias']
    V, D = config['vocab_size'], config['hidden_size']
    tensors |= {'cls.predictions.decoder.weight': random(V, D)}
    tensors |= {f'cls.predictions.{name}': x for name, x in biases.items()}
    return write(tmp_path / 'untied', config | {'tie_word_embeddings': False}, tensors), given


def test_an_untied_file_with_one_bias(tmp_path):
    """As version 4 of the original wrote it; what is saved has both, as version 5 reads it."""
    bias = random(43)
    directory, given = untied(tmp_path, {'bias': bias})
    loaded = hf.load(directory)
    np.testing.assert_array_equal(loaded.params['head']['bias'], bias)
    assert 'kernel' in loaded.params['head']
    hf.save(loaded, tmp_path / 'again')
    saved = ours.tensors(tmp_path / 'again')
    for name in ('cls.predictions.bias', 'cls.predictions.decoder.bias'):
        np.testing.assert_array_equal(saved[name], bias)
    again = hf.load(tmp_path / 'again')(**given).logits
    np.testing.assert_array_equal(loaded(**given).logits, again)
    # To the base class, the kernel and both biases are tensors of another head.
    pooler = {'bert.pooler.dense.weight': random(16, 16), POOLER_BIAS: random(16)}
    config = json.loads((tmp_path / 'again' / 'config.json').read_text())
    base = hf.load(write(tmp_path / 'base', config, saved | pooler), architecture='BertModel')
    np.testing.assert_array_equal(base.params['head']['dense']['bias'], pooler[POOLER_BIAS])


def test_of_two_biases_the_one_that_is_read(tmp_path):
    dead, read_one = random(43), random(43) + 1
    directory, _ = untied(tmp_path, {'bias': dead, 'decoder.bias': read_one})
    np.testing.assert_array_equal(hf.load(directory).params['head']['bias'], read_one)


KERNELS = (
    ('bert/masked', 'cls.predictions.decoder.weight'),
    ('roberta/masked', 'lm_head.decoder.weight'),
    ('distilbert/masked', 'vocab_projector.weight'),
    ('electra/generator', 'generator_lm_head.weight'),
    ('albert/groups', 'predictions.decoder.weight'),
)


@pytest.mark.parametrize(('name', 'kernel'), KERNELS)
def test_a_kernel_that_is_not_the_table_is_read(name, kernel, tmp_path):
    """As version 5 of the original reads such files, though config.json says it is tied."""
    config, tensors, given, expected = read(name)
    assert config.get('tie_word_embeddings', True)
    (table,) = (x for n, x in tensors.items() if n.endswith('embeddings.word_embeddings.weight'))
    for i, (x, tied) in enumerate([(table, True), (table + 1, False)]):
        directory = write(tmp_path / f'{i}', config, tensors | {kernel: x})
        loaded = hf.load(directory)
        assert ('kernel' not in loaded.params['head']) == tied
        assert loaded.config.get('tie_word_embeddings', True) == tied
        found = ours.differences(loaded, given, {'logits': expected['logits']})
        assert (found['logits'] <= 1e-5) == tied


REFUSED = (
    ('bert/masked', 'position_embedding_type', 'relative_key', "accepted: 'absolute'"),
    ('albert/groups', 'position_embedding_type', 'relative_key', "accepted: 'absolute'"),
    ('electra/generator', 'position_embedding_type', 'relative_key_query', "accepted: 'absolute'"),
    ('bert/masked', 'embedding_size', 8, 'not known to this family'),
    ('bert/masked', 'hidden_act', 'gelu_10', 'accepted: one of gelu'),
    ('bert/masked', 'add_cross_attention', True, 'accepted: False'),
    ('roberta/masked', 'pad_token_id', None, 'accepted: a whole number'),
    ('albert/groups', 'net_structure_type', 1, 'accepted: 0'),
    ('albert/groups', 'num_hidden_groups', 4, 'accepted: at most num_hidden_layers, 3'),
)


@pytest.mark.parametrize(('name', 'field', 'value', 'accepted'), REFUSED)
def test_refuses_by_name(name, field, value, accepted, tmp_path):
    config, tensors, _, _ = read(name)
    directory = write(tmp_path / 'refused', config | {field: value}, tensors)
    with pytest.raises(UserError, match=f'{field}=.*{accepted}'):
        hf.load(directory)


def test_a_class_that_writes_text_must_be_a_decoder(tmp_path):
    config, tensors, _, _ = read('bert/masked')
    directory = write(tmp_path / 'encoder', config, tensors)
    with pytest.raises(UserError, match='is_decoder=False cannot be used; accepted: True'):
        hf.load(directory, architecture='BertLMHeadModel')
