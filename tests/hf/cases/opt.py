from tests.hf.cases import Case

SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'ffn_dim': 24,
    'vocab_size': 43,
    'max_position_embeddings': 32,
    'pad_token_id': 1,
    'bos_token_id': 2,
    'eos_token_id': 3,
}
PROJECTED = {
    'word_embed_proj_dim': 10,
    'do_layer_norm_before': False,
    'activation_function': 'gelu',
    'tie_word_embeddings': False,
}
BARE = {'enable_bias': False, 'layer_norm_elementwise_affine': False}

CASES = (
    Case('opt/lm', 'OPTForCausalLM', SMALL, fixture=True),
    Case('opt/base', 'OPTModel', SMALL | {'_remove_final_layer_norm': True}, 'no last norm'),
    Case('opt/classes', 'OPTForSequenceClassification', SMALL | PROJECTED | {'num_labels': 3}),
    Case('opt/answers', 'OPTForQuestionAnswering', SMALL),
    Case('opt/bare', 'OPTForCausalLM', SMALL | BARE, 'no biases, norms without parameters'),
    Case(
        'opt/projected',
        'OPTForCausalLM',
        SMALL | PROJECTED,
        'token vectors of another width, norms after the branches, untied',
        fixture=True,
    ),
)
