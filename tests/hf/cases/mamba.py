from tests.hf.cases import Case

SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'state_size': 4,
    'vocab_size': 43,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
BIASES = {
    'use_bias': True,
    'use_conv_bias': False,
    'conv_kernel': 3,
    'expand': 3,
    'time_step_rank': 5,
    'layer_norm_epsilon': 1e-3,
    'tie_word_embeddings': False,
}

CASES = (
    Case('mamba/lm', 'MambaForCausalLM', SMALL, fixture=True),
    Case('mamba/base', 'MambaModel', SMALL),
    Case(
        'mamba/biases',
        'MambaForCausalLM',
        SMALL | BIASES,
        'biases of the maps, none of the convolution; untied, a step of rank 5',
        fixture=True,
    ),
)
