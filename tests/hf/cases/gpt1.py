from tests.hf.cases import Case
from tests.hf.cases.gpt2 import SMALL

UNTIED = {'tie_word_embeddings': False, 'afn': 'silu', 'layer_norm_epsilon': 1e-3, 'n_layer': 3}

CASES = (
    Case('gpt1/lm', 'OpenAIGPTLMHeadModel', SMALL, fixture=True),
    Case('gpt1/base', 'OpenAIGPTModel', SMALL),
    Case(
        'gpt1/classes',
        'OpenAIGPTForSequenceClassification',
        SMALL | {'num_labels': 3, 'afn': 'relu'},
    ),
    Case(
        'gpt1/untied',
        'OpenAIGPTLMHeadModel',
        SMALL | UNTIED,
        'untied embeddings, SiLU, epsilon 1e-3, 3 layers, all 24 places',
        length=24,
    ),
)
