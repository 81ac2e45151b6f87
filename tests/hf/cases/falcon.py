from tests.hf.cases import Case

SMALL = {
    'hidden_size': 24,
    'num_hidden_layers': 2,
    'num_attention_heads': 6,
    'vocab_size': 43,
    'max_position_embeddings': 32,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
NEW = {'new_decoder_architecture': True, 'num_kv_heads': 2, 'ffn_hidden_size': 20}
ALIBI = {'alibi': True, 'multi_query': False, 'parallel_attn': False, 'bias': True}
ONE_NORM = NEW | {'num_ln_in_parallel_attn': 1, 'tie_word_embeddings': False, 'bias': True}

CASES = (
    Case('falcon/lm', 'FalconForCausalLM', SMALL, 'one key head'),
    Case('falcon/new', 'FalconForCausalLM', SMALL | NEW, 'two key heads, two norms', fixture=True),
    Case('falcon/one_norm', 'FalconForCausalLM', SMALL | ONE_NORM, 'one norm, biases, untied'),
    Case('falcon/alibi', 'FalconForCausalLM', SMALL | ALIBI, 'rounded ALiBi', fixture=True),
    Case('falcon/base', 'FalconModel', SMALL),
    Case('falcon/classes', 'FalconForSequenceClassification', SMALL | {'num_labels': 3}),
    Case('falcon/token_classes', 'FalconForTokenClassification', SMALL),
    Case('falcon/answers', 'FalconForQuestionAnswering', SMALL),
)
