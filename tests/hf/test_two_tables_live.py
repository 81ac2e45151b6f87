"""Against the original: heads of their own, biases of scores, decoders that are given nothing."""

import dataclasses

import numpy as np
import pytest

from tests.hf.cases import all_cases
from transformer import hf

torch = pytest.importorskip('torch', reason='compares with torch and transformers')
pytest.importorskip('transformers', reason='compares with transformers: pip install it')

from tests.hf import original  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings('ignore')]


def close(mine, theirs, mask=None):
    mine, theirs = np.asarray(mine), theirs.detach().numpy()
    if mask is not None:
        mine, theirs = mine[mask > 0], theirs[mask > 0]
    assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()


def made(name, **config):
    case = all_cases()[name]
    return original.make(dataclasses.replace(case, config=dict(case.config) | config))


@pytest.mark.parametrize('name', ['t5/v1.1', 'mt5/lm', 'switch/lm', 'bart/lm', 'mbart/lm'])
def test_a_head_of_its_own(tmp_path, name):
    model = made(name, tie_word_embeddings=False)
    body = getattr(model, 'model', model)
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape))
        for side in (body.encoder, body.decoder):
            side.embed_tokens.weight.copy_(body.shared.weight)
        if hasattr(model, 'final_logits_bias'):
            model.final_logits_bias.normal_()
    # Version 5 says that T5's head is tied, whatever it is.
    model.all_tied_weights_keys.pop('lm_head.weight', None)
    model.save_pretrained(tmp_path / 'theirs')
    ids = torch.randint(3, 43, (2, 9))
    given = {'input_ids': ids, 'decoder_input_ids': ids.flip(1)}
    theirs = model(**given).logits
    mine = hf.load(tmp_path / 'theirs')
    close(mine(**{k: x.numpy() for k, x in given.items()}).logits, theirs)
    hf.save(mine, tmp_path / 'again')
    opened, info = type(model).from_pretrained(tmp_path / 'again', output_loading_info=True)
    assert not any(info.values()), info
    close(opened.eval()(**given).logits.detach(), theirs)


@pytest.mark.parametrize(
    'name', ['bart/lm', 'bart/classes', 'bart/answers', 't5/classes', 't5/answers', 'mbart/base']
)
@pytest.mark.parametrize('side', ['left', 'right'])
def test_a_decoder_that_is_given_nothing(tmp_path, name, side):
    model = made(name)
    model.save_pretrained(tmp_path / 'theirs')
    ids = torch.randint(3, 43, (2, 9))
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    ids[:, -1] = end
    if side == 'left':
        ids[1, :3] = pad
    else:
        ids[1, 5], ids[1, 6:] = end, pad
    mask = (ids != pad).int()
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=mask)
    out = hf.load(tmp_path / 'theirs')(input_ids=ids.numpy(), attention_mask=mask.numpy())
    found = [
        n
        for n in ('logits', 'start_logits', 'last_hidden_state')
        if getattr(theirs, n, None) is not None
    ]
    for output in found:
        x = getattr(theirs, output)
        close(getattr(out, output), x, mask.numpy() if x.shape[:2] == mask.shape else None)
    assert found
