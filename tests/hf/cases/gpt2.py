from tests.hf.cases import Case

SMALL = {
    'n_embd': 16,
    'n_layer': 2,
    'n_head': 2,
    'n_positions': 24,
    'vocab_size': 43,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
UNTIED = {'tie_word_embeddings': False, 'n_inner': 40, 'activation_function': 'relu'}
BY_LAYER = {'scale_attn_by_inverse_layer_idx': True, 'n_layer': 3, 'layer_norm_epsilon': 1e-3}
THREE = {'num_labels': 3}

CASES = (
    Case('gpt2/lm', 'GPT2LMHeadModel', SMALL, fixture=True),
    Case('gpt2/base', 'GPT2Model', SMALL),
    Case('gpt2/classes', 'GPT2ForSequenceClassification', SMALL | THREE, fixture=True),
    Case('gpt2/token_classes', 'GPT2ForTokenClassification', SMALL | THREE),
    Case('gpt2/answers', 'GPT2ForQuestionAnswering', SMALL, fixture=True),
    Case(
        'gpt2/untied',
        'GPT2LMHeadModel',
        SMALL | UNTIED,
        'untied embeddings, MLP width 2.5 D, ReLU',
        fixture=True,
    ),
    Case(
        'gpt2/by_layer',
        'GPT2LMHeadModel',
        SMALL | BY_LAYER,
        'scores divided by the layer, 3 layers, epsilon 1e-3',
        fixture=True,
    ),
    Case(
        'gpt2/unscaled',
        'GPT2LMHeadModel',
        SMALL | {'scale_attn_weights': False},
        'unscaled scores',
    ),
    Case('gpt2/shards', 'GPT2LMHeadModel', SMALL, 'two files of weights', shards=2),
    Case('gpt2/bfloat16', 'GPT2LMHeadModel', SMALL, 'bfloat16 file', files='bfloat16'),
    Case('gpt2/float16', 'GPT2LMHeadModel', SMALL, 'float16 file', files='float16'),
)
