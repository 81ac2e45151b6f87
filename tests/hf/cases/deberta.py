from tests.hf.cases import Case

SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'vocab_size': 43,
    'max_position_embeddings': 24,
    'relative_attention': True,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
THIRD = SMALL | {
    'position_buckets': 8,
    'norm_rel_ebd': 'layer_norm',
    'share_att_key': True,
    'pos_att_type': 'p2c|c2p',
    'position_biased_input': False,
    'type_vocab_size': 0,
}
CONVOLVED = THIRD | {
    'num_hidden_layers': 3,
    'conv_kernel_size': 3,
    'conv_act': 'gelu',
    'attention_head_size': 8,
}
EARLY = SMALL | {'pos_att_type': ['c2p', 'p2c'], 'type_vocab_size': 2}
PLAIN = SMALL | {'relative_attention': False, 'norm_rel_ebd': 'none'}
CLASSES = {'num_labels': 3, 'pooler_hidden_act': 'tanh', 'cls_dropout': 0.2}

CASES = (
    Case('deberta_v2/masked', 'DebertaV2ForMaskedLM', THIRD | {'legacy': False}, fixture=True),
    Case('deberta_v2/base', 'DebertaV2Model', THIRD),
    Case('deberta_v2/classes', 'DebertaV2ForSequenceClassification', THIRD | {'num_labels': 3}),
    Case('deberta_v2/token_classes', 'DebertaV2ForTokenClassification', THIRD),
    Case('deberta_v2/answers', 'DebertaV2ForQuestionAnswering', THIRD),
    Case(
        'deberta_v2/convolution',
        'DebertaV2ForSequenceClassification',
        CONVOLVED | CLASSES,
        'a convolution in the first layer, a pooler with tanh',
        fixture=True,
    ),
    Case(
        'deberta_v2/groups',
        'DebertaV2Model',
        EARLY | {'conv_kernel_size': 5, 'conv_groups': 2, 'max_relative_positions': 6},
        'a convolution of 5 places in 2 groups, kernels for distances, 6 distances, token types',
    ),
    Case(
        'deberta_v2/narrow',
        'DebertaV2ForMaskedLM',
        EARLY | {'embedding_size': 10, 'hidden_act': 'gelu_new', 'layer_norm_eps': 1e-3},
        'token vectors of another width, the older masked head',
        fixture=True,
    ),
    Case(
        'deberta_v2/untied',
        'DebertaV2ForMaskedLM',
        THIRD | {'tie_word_embeddings': False, 'position_buckets': 5, 'max_relative_positions': 11},
        'untied, 5 buckets up to a distance of 11',
    ),
    Case(
        'deberta_v2/c2p',
        'DebertaV2Model',
        SMALL | {'pos_att_type': 'C2P', 'position_buckets': 6, 'type_vocab_size': 3},
        'content to position alone, 3 token types',
    ),
    Case(
        'deberta_v2/p2c',
        'DebertaV2ForQuestionAnswering',
        SMALL | {'pos_att_type': ['p2c'], 'share_att_key': True, 'max_relative_positions': 9},
        'position to content alone, without buckets',
    ),
    Case('deberta_v2/plain', 'DebertaV2Model', PLAIN, 'attention without distances'),
    Case(
        'deberta_v2/plain_scaled',
        'DebertaV2ForTokenClassification',
        PLAIN | {'pos_att_type': ['c2p', 'none'], 'num_labels': 5},
        'attention without distances, scaled as if it had them',
    ),
    Case('deberta/masked', 'DebertaForMaskedLM', EARLY | {'legacy': False}, fixture=True),
    Case('deberta/base', 'DebertaModel', EARLY | {'position_biased_input': False}),
    Case(
        'deberta/classes',
        'DebertaForSequenceClassification',
        EARLY | CLASSES | {'max_relative_positions': 6},
        '6 distances',
    ),
    Case('deberta/token_classes', 'DebertaForTokenClassification', EARLY),
    Case(
        'deberta/answers',
        'DebertaForQuestionAnswering',
        SMALL | {'pos_att_type': 'c2p'},
        'content to position alone',
    ),
    Case(
        'deberta/narrow',
        'DebertaForMaskedLM',
        SMALL | {'embedding_size': 10, 'pos_att_type': ['p2c', 'none'], 'hidden_act': 'relu'},
        'token vectors of another width, position to content alone, the older masked head',
    ),
    Case(
        'deberta/plain',
        'DebertaModel',
        PLAIN | {'pos_att_type': ['none']},
        'attention without distances',
    ),
)
