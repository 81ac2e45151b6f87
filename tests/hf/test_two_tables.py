"""Encoder-decoders: the table that the head reads, what files leave out, decoders given nothing."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.hf.test_fixtures import FIXTURES
from transformer import hf
from transformer.errors import UserError

SOURCE = np.array([[5, 9, 7, 8, 2], [6, 4, 2, 1, 1]])  # BART's end is 2, its padding 1
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def changed(tmp_path, name, change, config=None):
    """A fixture's directory with other tensors and another config.json."""
    source, target = FIXTURES / name, tmp_path / 'changed'
    target.mkdir()
    tensors = safetensors.numpy.load_file(source / 'model.safetensors')
    change(tensors)
    safetensors.numpy.save_file(tensors, target / 'model.safetensors', metadata={'format': 'pt'})
    values = json.loads((source / 'config.json').read_text()) | (config or {})
    values = {name: x for name, x in values.items() if x is not None}
    (target / 'config.json').write_text(json.dumps(values))
    return target


def outputs(directory, **more):
    ids = {'decoder_input_ids': SOURCE} if 'bart' not in str(directory) else {}
    return hf.load(directory, dtype='float32')(input_ids=SOURCE, attention_mask=MASK, **ids | more)


def kernel(tensors):
    table = tensors['model.shared.weight' if 'model.shared.weight' in tensors else 'shared.weight']
    return np.random.default_rng(0).normal(size=table.shape).astype(np.float32)


@pytest.mark.parametrize(
    'name, config, scale',
    [
        # As version 4 wrote T5 1.1, as version 5 does, and T5 1.0 with a head of its own.
        ('t5/v1.1', {'tie_word_embeddings': False, 'scale_decoder_outputs': None}, 1.0),
        ('t5/v1.1', {}, 1.0),
        ('t5/lm', {}, 0.25),
        ('mt5/lm', {}, 1.0),
        ('mt5/lm', {'tie_word_embeddings': False}, 1.0),
        ('mbart/lm', {}, 1.0),
    ],
)
def test_a_head_of_its_own_is_found_in_the_tensors(tmp_path, name, config, scale):
    own = {}

    def change(tensors):
        own['head'] = tensors['lm_head.weight'] = kernel(tensors)

    directory = changed(tmp_path, name, change, config)
    out = outputs(directory, decoder_input_ids=SOURCE)
    expected = scale * np.asarray(out.last_hidden_state) @ own['head'].T
    np.testing.assert_allclose(out.logits, expected, rtol=1e-4, atol=1e-4)
    loaded = hf.load(directory)
    hf.save(loaded, tmp_path / 'again')
    again = outputs(tmp_path / 'again', decoder_input_ids=SOURCE)
    np.testing.assert_array_equal(again.logits, out.logits)
    saved = safetensors.numpy.load_file(tmp_path / 'again' / 'model.safetensors')
    np.testing.assert_array_equal(saved['lm_head.weight'], own['head'])
    prefix = 'model.' if name == 'mbart/lm' else ''
    # The original ties the tables of the two stacks only where it ties the head.
    for side in ('encoder', 'decoder'):
        copy = saved[f'{prefix}{side}.embed_tokens.weight']
        np.testing.assert_array_equal(copy, saved[f'{prefix}shared.weight'])


@pytest.mark.parametrize('name', ['t5/lm', 'switch/lm', 'bart/lm'])
@pytest.mark.parametrize('copy', ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'])
def test_a_copy_stands_in_for_the_table(tmp_path, name, copy):
    prefix = 'model.' if name == 'bart/lm' else ''

    def change(tensors):
        tensors[prefix + copy] = tensors.pop(f'{prefix}shared.weight')

    moved = changed(tmp_path, name, change)
    mine, theirs = outputs(moved, decoder_input_ids=SOURCE).logits, FIXTURES / name
    np.testing.assert_array_equal(mine, outputs(theirs, decoder_input_ids=SOURCE).logits)


def test_tables_that_differ_are_refused(tmp_path):
    def change(tensors):
        tensors['encoder.embed_tokens.weight'] = tensors['shared.weight'] + 1

    with pytest.raises(UserError, match='encoder.embed_tokens.weight'):
        hf.load(changed(tmp_path, 't5/lm', change))


def test_a_scaled_head_of_its_own_is_refused(tmp_path):
    def change(tensors):
        tensors['lm_head.weight'] = kernel(tensors)

    with pytest.raises(UserError, match='tie_word_embeddings=True'):
        hf.load(changed(tmp_path, 'switch/lm', change))


def test_a_missing_bias_is_zero(tmp_path):
    def with_bias(tensors):
        tensors['final_logits_bias'] = np.arange(43, dtype=np.float32)[None]

    def without_bias(tensors):
        del tensors['final_logits_bias']

    (tmp_path / 'a').mkdir()
    bias = outputs(changed(tmp_path / 'a', 'bart/lm', with_bias)).logits
    none = outputs(changed(tmp_path, 'bart/lm', without_bias)).logits
    np.testing.assert_allclose(bias - none, np.broadcast_to(np.arange(43), bias.shape), atol=1e-4)


def test_missing_places_are_sines_and_cosines(tmp_path):
    def change(tensors):
        for side in ('encoder', 'decoder'):
            del tensors[f'model.{side}.embed_positions.weight']

    loaded = hf.load(changed(tmp_path, 'pegasus/lm', change))
    place = np.arange(24)[:, None] * 10_000.0 ** (-np.arange(0, 16, 2) / 16)[None]
    expected = np.concatenate([np.sin(place), np.cos(place)], 1)
    for side in ('encoder', 'decoder'):
        table = loaded.params[f'{side}_embed']['positions']['table']
        np.testing.assert_allclose(table, expected, atol=1e-6)


@pytest.mark.parametrize('name', ['bart/lm', 'mbart/lm'])
def test_a_decoder_that_is_given_nothing_reads_the_source_again(name):
    first = SOURCE[[0, 1], [4, 2]] if name == 'mbart/lm' else [2, 2]
    shifted = np.concatenate([np.array(first)[:, None], SOURCE[:, :-1]], axis=1)
    loaded = hf.load(FIXTURES / name)
    alone = loaded(input_ids=SOURCE, attention_mask=MASK).logits
    np.testing.assert_array_equal(
        alone, loaded(input_ids=SOURCE, attention_mask=MASK, decoder_input_ids=shifted).logits
    )


def test_a_class_is_read_where_the_source_ends():
    loaded = hf.load(FIXTURES / 'bart/classes')
    whole = loaded(input_ids=SOURCE, attention_mask=MASK).logits
    short = loaded(input_ids=SOURCE[1:, :3]).logits
    np.testing.assert_allclose(whole[1:], short, rtol=1e-4, atol=1e-5)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3
    with pytest.raises(UserError, match='without 2'):
        loaded(input_ids=SOURCE[:, :2])
    with pytest.raises(UserError, match='decoder_input_ids'):
        loaded(input_ids=SOURCE, decoder_input_ids=SOURCE[:, :3])


def test_t5_wants_a_decoder_input():
    with pytest.raises(UserError, match='decoder_input_ids are missing'):
        hf.load(FIXTURES / 't5/lm')(input_ids=SOURCE)


@pytest.mark.parametrize(
    'name, architecture', [('t5/lm', 'T5EncoderModel'), ('bart/lm', 'BartForCausalLM')]
)
def test_one_stack_of_a_checkpoint(name, architecture):
    """A class of one stack opens the files of one with two."""
    whole, one = hf.load(FIXTURES / name), hf.load(FIXTURES / name, architecture=architecture)
    theirs = whole(input_ids=SOURCE, decoder_input_ids=SOURCE).encoder_last_hidden_state
    mine = one(input_ids=SOURCE).last_hidden_state
    assert mine.shape == theirs.shape
    if architecture == 'T5EncoderModel':
        np.testing.assert_array_equal(mine, theirs)
    else:
        tables = [jax.tree.leaves(x.params['tokens'])[0] for x in (whole, one)]
        np.testing.assert_array_equal(*tables)


@pytest.mark.parametrize('field', ['encoder_layerdrop', 'decoder_layerdrop'])
def test_layerdrop_is_refused(tmp_path, field):
    directory = changed(tmp_path, 'bart/lm', lambda tensors: None, {field: 0.1})
    with pytest.raises(UserError, match=f'{field}=0.1'):
        hf.load(directory)


def test_buckets_that_do_not_fit_are_refused(tmp_path):
    few = {'relative_attention_num_buckets': 32, 'relative_attention_max_distance': 12}
    with pytest.raises(UserError, match='relative_attention_num_buckets: buckets=32'):
        hf.load(changed(tmp_path, 't5/lm', lambda tensors: None, few))
