from tests.hf.cases import Case

SMALL = {
    'd_model': 16,
    'encoder_layers': 2,
    'decoder_layers': 2,
    'encoder_attention_heads': 2,
    'decoder_attention_heads': 2,
    'encoder_ffn_dim': 24,
    'decoder_ffn_dim': 24,
    'vocab_size': 43,
    'max_position_embeddings': 24,
    'pad_token_id': 1,
    'bos_token_id': 0,
    'eos_token_id': 2,
    'decoder_start_token_id': 2,
}
UNEVEN = {
    'decoder_layers': 1,
    'decoder_attention_heads': 4,
    'decoder_ffn_dim': 40,
    'scale_embedding': True,
    'activation_function': 'relu',
}
PEGASUS = SMALL | {'pad_token_id': 0, 'eos_token_id': 1, 'decoder_start_token_id': 0}
del PEGASUS['bos_token_id']

CASES = (
    Case('bart/lm', 'BartForConditionalGeneration', SMALL, fixture=True),
    Case(
        'bart/base',
        'BartModel',
        SMALL | UNEVEN,
        'decoder of other depth, heads and MLP width; scaled embeddings; ReLU',
    ),
    Case('bart/classes', 'BartForSequenceClassification', SMALL | {'num_labels': 4}, fixture=True),
    Case('bart/answers', 'BartForQuestionAnswering', SMALL),
    Case('bart/causal', 'BartForCausalLM', SMALL | UNEVEN, 'the decoder alone'),
    Case(
        'mbart/lm',
        'MBartForConditionalGeneration',
        SMALL | UNEVEN,
        'pre-norm, scaled embeddings',
        fixture=True,
    ),
    Case('mbart/base', 'MBartModel', SMALL),
    Case('mbart/classes', 'MBartForSequenceClassification', SMALL),
    Case('mbart/answers', 'MBartForQuestionAnswering', SMALL),
    Case('mbart/causal', 'MBartForCausalLM', SMALL),
    Case(
        'pegasus/lm',
        'PegasusForConditionalGeneration',
        PEGASUS | {'scale_embedding': True},
        'fixed places, pre-norm',
        fixture=True,
    ),
    Case('pegasus/base', 'PegasusModel', PEGASUS),
    Case('pegasus/causal', 'PegasusForCausalLM', PEGASUS),
)
