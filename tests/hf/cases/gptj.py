from tests.hf.cases import Case

SMALL = {
    'n_embd': 16,
    'n_layer': 2,
    'n_head': 2,
    'rotary_dim': 4,
    'vocab_size': 43,
    'n_positions': 32,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
ODD = {
    'rotary_dim': 8,
    'n_inner': 24,
    'activation_function': 'relu',
    'layer_norm_epsilon': 1e-3,
    'tie_word_embeddings': True,
}

CASES = (
    Case('gptj/lm', 'GPTJForCausalLM', SMALL, 'neighbours turned together', fixture=True),
    Case('gptj/base', 'GPTJModel', SMALL),
    Case('gptj/classes', 'GPTJForSequenceClassification', SMALL | {'num_labels': 3}),
    Case('gptj/answers', 'GPTJForQuestionAnswering', SMALL),
    Case('gptj/tied', 'GPTJForCausalLM', SMALL | ODD, 'tied, all of a head turned', fixture=True),
)
