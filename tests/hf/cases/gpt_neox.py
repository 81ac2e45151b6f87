from tests.hf.cases import Case

SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'vocab_size': 43,
    'max_position_embeddings': 32,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
ODD = {
    'use_parallel_residual': False,
    'attention_bias': False,
    'hidden_act': 'gelu_fast',
    'layer_norm_eps': 1e-3,
    'tie_word_embeddings': True,
    'rope_parameters': {
        'rope_type': 'linear',
        'factor': 2.0,
        'rope_theta': 100.0,
        'partial_rotary_factor': 0.5,
    },
}

CASES = (
    Case('gpt_neox/lm', 'GPTNeoXForCausalLM', SMALL, 'two norms side by side', fixture=True),
    Case('gpt_neox/base', 'GPTNeoXModel', SMALL),
    Case('gpt_neox/classes', 'GPTNeoXForSequenceClassification', SMALL | {'num_labels': 3}),
    Case('gpt_neox/token_classes', 'GPTNeoXForTokenClassification', SMALL),
    Case('gpt_neox/answers', 'GPTNeoXForQuestionAnswering', SMALL),
    Case(
        'gpt_neox/in_a_row',
        'GPTNeoXForCausalLM',
        SMALL | ODD,
        'branches in a row, no biases of attention, tied; positions stretched',
        fixture=True,
    ),
)
