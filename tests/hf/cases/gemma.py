from tests.hf.cases import Case
from tests.hf.cases.llama import SMALL

GEMMA = SMALL | {'num_key_value_heads': 1, 'head_dim': 12}
GEMMA2 = GEMMA | {'sliding_window': 5, 'query_pre_attn_scalar': 7}
LAYERS = ['full_attention', 'full_attention', 'sliding_attention']
UNCAPPED = {
    'attn_logit_softcapping': None,
    'final_logit_softcapping': None,
    'num_hidden_layers': 3,
    'layer_types': LAYERS,
    'hidden_activation': 'gelu',
    'attention_bias': True,
    'tie_word_embeddings': False,
}

CASES = (
    Case('gemma/lm', 'GemmaForCausalLM', GEMMA, 'heads of 12 (not D / N)', fixture=True),
    Case('gemma/base', 'GemmaModel', GEMMA, fixture=True),
    Case('gemma/classes', 'GemmaForSequenceClassification', GEMMA | {'num_labels': 3}),
    Case('gemma/token_classes', 'GemmaForTokenClassification', GEMMA),
    Case(
        'gemma/untied',
        'GemmaForCausalLM',
        GEMMA
        | {'tie_word_embeddings': False, 'attention_bias': True, 'hidden_act': 'relu'}
        | {'rms_norm_eps': 1e-3},
        'untied, biases, ReLU, epsilon 1e-3, past the trained length',
        length=40,
    ),
    Case(
        'gemma/bfloat16',
        'GemmaForCausalLM',
        GEMMA | {'hidden_size': 20},
        'bfloat16 file, token vectors times 20^1/2',
        files='bfloat16',
    ),
    Case(
        'gemma2/lm',
        'Gemma2ForCausalLM',
        GEMMA2 | {'attn_logit_softcapping': 2.0, 'final_logit_softcapping': 3.0},
        'scores and logits capped, a window of 5 in every other layer, scale 7^-1/2',
        fixture=True,
    ),
    Case('gemma2/base', 'Gemma2Model', GEMMA2),
    Case(
        'gemma2/classes',
        'Gemma2ForSequenceClassification',
        GEMMA2 | {'num_labels': 3},
        fixture=True,
    ),
    Case('gemma2/token_classes', 'Gemma2ForTokenClassification', GEMMA2),
    Case(
        'gemma2/uncapped',
        'Gemma2ForCausalLM',
        GEMMA2 | UNCAPPED,
        'no caps, three layers by name, exact GELU, biases, untied, past the trained length',
        length=40,
    ),
)
