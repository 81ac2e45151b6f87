"""A ViT without a pooler: its config.json does not say so, only the tensors do."""

import shutil

import numpy as np
import safetensors.numpy

from tests.hf.test_fixtures import FIXTURES
from transformer import hf


def test_a_model_without_a_pooler_is_loaded_and_saved_as_such(tmp_path):
    whole, bare, again = FIXTURES / 'vit' / 'no_biases', tmp_path / 'bare', tmp_path / 'again'
    bare.mkdir()
    shutil.copy(whole / 'config.json', bare)
    tensors = safetensors.numpy.load_file(whole / 'model.safetensors')
    kept = {name: x for name, x in tensors.items() if 'pooler' not in name}
    assert len(kept) == len(tensors) - 2
    safetensors.numpy.save_file(kept, bare / 'model.safetensors')

    images = np.random.default_rng(0).standard_normal((2, 1, 6, 6)).astype(np.float32)
    want, pretrained = hf.load(whole)(pixel_values=images), hf.load(bare)
    got = pretrained(pixel_values=images)
    np.testing.assert_array_equal(got.last_hidden_state, want.last_hidden_state)
    assert got.pooler_output is None and want.pooler_output is not None

    hf.save(pretrained, again)
    saved = safetensors.numpy.load_file(again / 'model.safetensors')
    assert {n: x.tobytes() for n, x in saved.items()} == {n: x.tobytes() for n, x in kept.items()}
    assert hf.load(again)(pixel_values=images).pooler_output is None
