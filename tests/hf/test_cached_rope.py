"""Positions that are turned by the length of the call: each cached step against the original's."""

import numpy as np
import pytest

from tests.hf import ours
from tests.hf.cases import all_cases
from transformer import hf

torch = pytest.importorskip('torch', reason='compares with torch and transformers')
pytest.importorskip('transformers', reason='compares with transformers: pip install it')

from tests.hf import original  # noqa: E402

CASES = all_cases()


@pytest.mark.live
@pytest.mark.filterwarnings('ignore')
# The calls are 0-11, 12, 13 ... and pass the original length, 16 or 32, on their way.
@pytest.mark.parametrize(('name', 'length'), [('llama/longrope', 20), ('llama/dynamic', 36)])
def test_every_step_equals_the_original(name, length, tmp_path):
    torch.set_num_threads(1)
    model = original.make(CASES[name])
    original.save(CASES[name], model, tmp_path)
    tokens = np.random.default_rng(0).integers(3, 43, (2, length))
    states, cache = [], None
    with torch.no_grad():
        for low, high in [(0, length - 5), *((t, t + 1) for t in range(length - 5, length))]:
            out = model.model(
                torch.tensor(tokens[:, low:high]), past_key_values=cache, use_cache=True
            )
            cache = out.past_key_values
            states.append(out.last_hidden_state.numpy())
        whole = original.make(CASES[name]).model(torch.tensor(tokens)).last_hidden_state.numpy()
    theirs = np.concatenate(states, axis=1)
    mine = ours.cached(hf.load(tmp_path, dtype='float32'), {'input_ids': tokens})
    assert ours.difference(mine, theirs, None) < 1e-5
    assert ours.difference(mine, whole, None) > 1e-2  # so that the steps do differ
