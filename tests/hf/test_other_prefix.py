"""A class whose tensors of the body have another prefix than those of the rest of its family."""

from pathlib import Path

import numpy as np
import pytest

from transformer import hf
from transformer.hf import architecture, files, weights
from transformer.hf.pretrained import sizes

FIXTURES = Path(__file__).with_name('fixtures')
TOKENS = {'input_ids': np.arange(1, 9)[None]}


def test_the_body_of_the_class_for_answers():
    whole = hf.load(FIXTURES / 'llama/answers', dtype='float32')
    body = hf.load(FIXTURES / 'llama/answers', dtype='float32', architecture='LlamaModel')
    mine, theirs = (x(**TOKENS).last_hidden_state for x in (body, whole))
    assert np.array_equal(mine, theirs)


@pytest.mark.parametrize(('name', 'kind'), [('lm', 'span'), ('answers', 'class')])
def test_a_new_head_on_the_body_of_another_class(name, kind):
    directory = FIXTURES / 'llama' / name
    made = architecture.read(files.read_json(directory / 'config.json'), kind=kind)
    pieces = made.pieces(architecture.shapes(made.model(sizes(made, 'float32'))))
    with files.Tensors(directory) as tensors:
        held, _ = weights.check(tensors, pieces, made, fresh=True)
    fresh = {piece.path for piece in pieces} - {piece.path for piece in held}
    assert fresh and all(path.startswith('head/classes/') for path in fresh)
