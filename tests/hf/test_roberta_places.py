"""RoBERTa's places count the tokens that are not padding, wherever padding stands."""

import json

import numpy as np
import pytest
import safetensors.numpy

from tests.hf.test_fixtures import FIXTURES
from transformer import hf

PAD = 1
IDS = np.array(
    [[5, 6, 7, 8, 9, 10], [PAD, PAD, 5, 6, 7, 8], [5, PAD, 6, 7, PAD, 8], [5, 6, 7, PAD, PAD, PAD]]
)
# As the original's library has it: rows of the table, from the one behind padding's own.
ROWS = np.array([[2, 3, 4, 5, 6, 7], [1, 1, 2, 3, 4, 5], [2, 1, 3, 4, 1, 5], [2, 3, 4, 1, 1, 1]])


@pytest.fixture
def pretrained():
    return hf.load(FIXTURES / 'roberta' / 'masked', dtype='float32')


@pytest.mark.parametrize('masked', [True, False])
def test_places_are_rows(pretrained, masked):
    mask = (IDS != PAD).astype(int) if masked else np.ones_like(IDS)
    alone = pretrained(input_ids=IDS, attention_mask=mask).logits
    told = pretrained(input_ids=IDS, attention_mask=mask, position_ids=ROWS).logits
    np.testing.assert_array_equal(alone, told)
    others = pretrained(input_ids=IDS, attention_mask=mask, position_ids=ROWS[::-1]).logits
    assert np.abs(alone - others)[mask > 0].max() > 1e-2


def test_padding_on_the_left_is_padding_on_the_right(pretrained):
    left, right = np.array([[PAD, PAD, 5, 6, 7]]), np.array([[5, 6, 7, PAD, PAD]])
    one, other = (pretrained(input_ids=x, attention_mask=(x != PAD)).logits for x in (left, right))
    np.testing.assert_allclose(one[:, 2:], other[:, :3], rtol=1e-5, atol=1e-5)


def test_padding_that_config_json_does_not_name(pretrained, tmp_path):
    """It is token 1 then, as in the original's library."""
    config = json.loads((FIXTURES / 'roberta' / 'masked' / 'config.json').read_text())
    assert config.pop('pad_token_id') == PAD
    tensors = safetensors.numpy.load_file(FIXTURES / 'roberta' / 'masked' / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(config))
    safetensors.numpy.save_file(tensors, tmp_path / 'model.safetensors')
    unnamed = hf.load(tmp_path, dtype='float32')
    np.testing.assert_array_equal(unnamed(input_ids=IDS).logits, pretrained(input_ids=IDS).logits)


@pytest.mark.live
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('masked', [True, False])
def test_equals_the_original(pretrained, masked):
    torch = pytest.importorskip('torch', reason='compares with torch: pip install it')
    transformers = pytest.importorskip('transformers', reason='pip install transformers')
    torch.set_num_threads(1)
    directory = FIXTURES / 'roberta' / 'masked'
    model = transformers.RobertaForMaskedLM.from_pretrained(directory).eval()
    mask = (IDS != PAD).astype(int) if masked else np.ones_like(IDS)
    with torch.no_grad():
        theirs = model(torch.tensor(IDS), torch.tensor(mask)).logits.numpy()
    mine = np.asarray(pretrained(input_ids=IDS, attention_mask=mask).logits)
    difference = np.abs(mine - theirs)[mask > 0].max() / np.abs(theirs).max()
    assert difference <= 1e-5
