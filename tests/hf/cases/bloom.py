from tests.hf.cases import Case

SMALL = {
    'hidden_size': 12,
    'n_layer': 2,
    'n_head': 3,
    'vocab_size': 43,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
ODD = {'tie_word_embeddings': False, 'layer_norm_epsilon': 1e-3, 'n_head': 4}

CASES = (
    Case('bloom/lm', 'BloomForCausalLM', SMALL, 'ALiBi of 3 heads', fixture=True),
    Case('bloom/base', 'BloomModel', SMALL),
    Case('bloom/classes', 'BloomForSequenceClassification', SMALL | {'num_labels': 3}),
    Case('bloom/token_classes', 'BloomForTokenClassification', SMALL),
    Case('bloom/answers', 'BloomForQuestionAnswering', SMALL),
    Case('bloom/untied', 'BloomForCausalLM', SMALL | ODD, 'untied', fixture=True),
)
