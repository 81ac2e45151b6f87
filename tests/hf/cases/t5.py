from tests.hf.cases import Case

SMALL = {
    'd_model': 16,
    'd_kv': 6,
    'd_ff': 24,
    'num_layers': 2,
    'num_heads': 2,
    'vocab_size': 43,
    'relative_attention_num_buckets': 8,
    'relative_attention_max_distance': 12,
    'pad_token_id': 0,
    'eos_token_id': 1,
    'decoder_start_token_id': 0,
}
GATED = {'feed_forward_proj': 'gated-gelu', 'tie_word_embeddings': False}
DEEPER = {'num_decoder_layers': 3, 'layer_norm_epsilon': 1e-4}

CASES = (
    Case('t5/lm', 'T5ForConditionalGeneration', SMALL, fixture=True),
    Case('t5/base', 'T5Model', SMALL | DEEPER, '2 encoder and 3 decoder layers, epsilon 1e-4'),
    Case('t5/encoder', 'T5EncoderModel', SMALL | GATED, 'the encoder alone'),
    Case('t5/classes', 'T5ForSequenceClassification', SMALL | {'num_labels': 3}, fixture=True),
    Case('t5/token_classes', 'T5ForTokenClassification', SMALL | {'num_labels': 3}),
    Case('t5/answers', 'T5ForQuestionAnswering', SMALL),
    Case(
        't5/v1.1',
        'T5ForConditionalGeneration',
        SMALL | GATED,
        'gated GELU, scores not scaled',
        fixture=True,
    ),
    Case(
        't5/gated_silu',
        'T5ForConditionalGeneration',
        SMALL
        | {
            'feed_forward_proj': 'gated-silu',
            'relative_attention_num_buckets': 32,
            'relative_attention_max_distance': 128,
        },
        'gated SiLU, 32 buckets',
    ),
    Case('mt5/lm', 'MT5ForConditionalGeneration', SMALL, fixture=True),
    Case('mt5/classes', 'MT5ForSequenceClassification', SMALL | {'num_labels': 3}),
    Case('mt5/token_classes', 'MT5ForTokenClassification', SMALL),
)
