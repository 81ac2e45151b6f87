from tests.hf.cases import Case
from tests.hf.cases.llama import SMALL

GROUPED = SMALL | {'num_attention_heads': 4, 'num_key_value_heads': 2, 'sliding_window': 5}
WHOLE = {'sliding_window': None, 'head_dim': 6, 'tie_word_embeddings': True, 'vocab_size': 41}

CASES = (
    Case(
        'mistral/lm',
        'MistralForCausalLM',
        GROUPED,
        'a window of 5, two heads for each key and value',
        fixture=True,
    ),
    Case('mistral/base', 'MistralModel', GROUPED),
    Case('mistral/classes', 'MistralForSequenceClassification', GROUPED | {'num_labels': 3}),
    Case('mistral/token_classes', 'MistralForTokenClassification', GROUPED, fixture=True),
    Case('mistral/answers', 'MistralForQuestionAnswering', GROUPED),
    Case(
        'mistral/whole',
        'MistralForCausalLM',
        GROUPED | WHOLE,
        'no window, heads of 6 (not D / N), tied embeddings, past the trained length',
        length=40,
    ),
)
