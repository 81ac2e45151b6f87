"""A model that was made here goes out as a checkpoint of the family that it belongs to."""

import dataclasses

import numpy as np
import pytest

from tests import tiny
from transformer import hf
from transformer import model as models
from transformer.errors import UserError
from transformer.hf import native, pretrained
from transformer.models import bert, gpt, llama, t5, vit
from transformer.models.assemble import Sizes

SMALL = {'width': 16, 'depth': 2, 'heads': 2, 'hidden': 24, 'dropout': 0.0}
MODELS = {
    'gpt2': (gpt.GPT2, 'tokens', 'GPT2LMHeadModel'),
    'llama': (llama.LLAMA, 'tokens', 'LlamaForCausalLM'),
    'mistral': (dataclasses.replace(llama.LLAMA, window=5), 'tokens', 'MistralForCausalLM'),
    'bert': (bert.BERT, 'masked', 'BertForMaskedLM'),
    'bert_classes': (
        dataclasses.replace(bert.BERT, pooler='tanh'),
        'class',
        'BertForSequenceClassification',
    ),
    't5': (t5.T5, 'tokens', 'T5ForConditionalGeneration'),
    't5_1.1': (t5.V1_1, 'tokens', 'T5ForConditionalGeneration'),
    'vit': (
        dataclasses.replace(vit.OPTIONS, image=8, patch=4),
        'class',
        'ViTForImageClassification',
    ),
}


def built(options, head):
    options = dataclasses.replace(options, **SMALL)
    sizes = Sizes(tiny.VOCAB, tiny.CONTEXT, tiny.CONTEXT, head, tiny.CLASSES)
    model = models.make(options.build(sizes))
    return model, tiny.filled(model)


def inputs(model):
    rng = np.random.default_rng(0)
    if isinstance(model, models.Vision):
        return {'pixel_values': rng.standard_normal((2, 3, 8, 8), np.float32)}
    ids = rng.integers(3, tiny.VOCAB, (2, 11))
    both = isinstance(model, models.EncoderDecoder)
    return {'input_ids': ids} | ({'decoder_input_ids': ids[:, :7]} if both else {})


@pytest.mark.parametrize('name', MODELS)
def test_comes_back_with_the_same_logits(name, tmp_path):
    options, head, expected = MODELS[name]
    model, params = built(options, head)
    classes = ('a', 'b', 'c') if head == 'class' else ()
    made = native.architecture_of(model.config, head, classes)
    assert made.name == expected
    own = hf.Pretrained(model, params, None, made)
    pretrained.save(own, tmp_path / 'out')
    again = hf.load(tmp_path / 'out')
    assert again.architecture.labels == classes
    given = inputs(model)
    theirs, mine = again(**given).logits, own(**given).logits
    assert np.std(mine) > 0
    np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'change', [{'mlp': 'relu2'}, {'norm': 'rmsnorm'}, {'residual': 'parallel'}, {'shared': True}]
)
def test_what_no_family_has_is_refused(change):
    model, _ = built(dataclasses.replace(gpt.GPT2, **change), 'tokens')
    if change == {'mlp': 'relu2'}:  # an activation that the original knows, too
        assert native.architecture_of(model.config, 'tokens', ()).name == 'GPT2LMHeadModel'
        return
    with pytest.raises(UserError, match='no family of checkpoints'):
        native.architecture_of(model.config, 'tokens', ())
