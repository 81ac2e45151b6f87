"""Every family, head and option against the original, made and saved here by transformers.

With PARITY=FILE each case's differences are added to that file, a JSON object a line;
`python -m tests.hf.parity_table FILE` makes docs/parity.md of it.
"""

import json
import os
from pathlib import Path

import pytest

from tests.hf import ours
from tests.hf.cases import all_cases

pytest.importorskip('torch', reason='compares with torch and transformers: pip install both')
pytest.importorskip('transformers', reason='compares with transformers: pip install it')

from tests.hf import original  # noqa: E402

CASES = all_cases()


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.mark.live
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', CASES)
def test_equals_the_original(name, tmp_path):
    case = CASES[name]
    model = original.make(case)
    original.save(case, model, tmp_path / 'theirs')
    given = original.inputs(case, model)
    expected = original.outputs(model, given)
    found = ours.check(case, tmp_path / 'theirs', given, expected, tmp_path / 'again')
    opened, info = type(model).from_pretrained(tmp_path / 'again', output_loading_info=True)
    assert not any(info.values()), info
    for key, x in opened.state_dict().items():
        assert x.equal(model.state_dict()[key].to(x.dtype)), key
    if os.environ.get('PARITY'):
        record = {'name': name, 'model': case.model, 'option': case.option} | found
        with Path(os.environ['PARITY']).open('a', encoding='utf-8') as file:
            file.write(json.dumps(record) + '\n')
