from tests.hf.cases import Case
from tests.hf.cases.gpt_neox import SMALL

ODD = {
    'num_key_value_heads': 1,
    'qk_layernorm': True,
    'hidden_act': 'relu',
    'layer_norm_eps': 1e-3,
    'tie_word_embeddings': True,
    'rope_parameters': {'rope_theta': 100.0, 'partial_rotary_factor': 0.25},
}

CASES = (
    Case('phi/lm', 'PhiForCausalLM', SMALL, 'one norm for both branches', fixture=True),
    Case('phi/base', 'PhiModel', SMALL),
    Case('phi/classes', 'PhiForSequenceClassification', SMALL | {'num_labels': 3}),
    Case('phi/token_classes', 'PhiForTokenClassification', SMALL),
    Case(
        'phi/query_norm',
        'PhiForCausalLM',
        SMALL | ODD,
        'norms of queries and keys, one key head, tied',
        fixture=True,
    ),
)
