from tests.hf.cases import Case
from tests.hf.cases.llama import SMALL

EXPERTS = SMALL | {'num_key_value_heads': 1, 'num_local_experts': 4, 'intermediate_size': 12}
MORE = {
    'num_local_experts': 5,
    'num_experts_per_tok': 3,
    'sliding_window': 6,
    'hidden_act': 'gelu',
    'tie_word_embeddings': True,
    'output_router_logits': True,
    'router_jitter_noise': 0.1,
    'head_dim': 6,
}

CASES = (
    Case('mixtral/lm', 'MixtralForCausalLM', EXPERTS, 'four experts, two a token', fixture=True),
    Case('mixtral/base', 'MixtralModel', EXPERTS),
    Case('mixtral/classes', 'MixtralForSequenceClassification', EXPERTS | {'num_labels': 3}),
    Case('mixtral/token_classes', 'MixtralForTokenClassification', EXPERTS),
    Case('mixtral/answers', 'MixtralForQuestionAnswering', EXPERTS),
    Case(
        'mixtral/more',
        'MixtralForCausalLM',
        EXPERTS | MORE,
        'three of five experts, a window of 6, tied embeddings, past the trained length',
        length=40,
    ),
)
