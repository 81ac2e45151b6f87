from tests.hf.cases import Case

SMALL = {
    'd_model': 16,
    'd_kv': 6,
    'd_ff': 24,
    'num_layers': 4,
    'num_sparse_encoder_layers': 2,
    'num_decoder_layers': 2,
    'num_sparse_decoder_layers': 2,
    'num_heads': 2,
    'num_experts': 3,
    'vocab_size': 43,
    'relative_attention_num_buckets': 8,
    'relative_attention_max_distance': 12,
    'pad_token_id': 0,
    'eos_token_id': 1,
    'decoder_start_token_id': 0,
}

CASES = (
    Case(
        'switch/lm',
        'SwitchTransformersForConditionalGeneration',
        SMALL,
        'experts in every second layer of the encoder, in all of the decoder',
        fixture=True,
    ),
    Case(
        'switch/biases',
        'SwitchTransformersForConditionalGeneration',
        SMALL | {'router_bias': True, 'num_sparse_decoder_layers': 0},
        'router with biases',
    ),
    Case('switch/base', 'SwitchTransformersModel', SMALL | {'num_sparse_encoder_layers': 1}),
    Case(
        'switch/capacity',
        'SwitchTransformersEncoderModel',
        SMALL | {'expert_capacity': 3, 'dense_act_fn': 'gelu_new'},
        'experts that take 3 tokens, GELU',
        fixture=True,
    ),
)
