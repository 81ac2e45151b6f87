from tests.hf.cases import Case

SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'vocab_size': 43,
    'max_position_embeddings': 24,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
THREE = {'num_labels': 3}
UNTIED = {'tie_word_embeddings': False, 'layer_norm_eps': 1e-3, 'hidden_act': 'relu'}
DECODER = {'is_decoder': True, 'tie_word_embeddings': False, 'hidden_act': 'gelu_new'}

CASES = (
    Case('bert/masked', 'BertForMaskedLM', SMALL, fixture=True),
    Case('bert/base', 'BertModel', SMALL | {'type_vocab_size': 3}, 'three types'),
    Case('bert/classes', 'BertForSequenceClassification', SMALL | THREE, fixture=True),
    Case('bert/token_classes', 'BertForTokenClassification', SMALL | THREE),
    Case('bert/answers', 'BertForQuestionAnswering', SMALL),
    Case('bert/untied', 'BertForMaskedLM', SMALL | UNTIED, 'untied, epsilon 1e-3, ReLU'),
    Case('bert/causal', 'BertLMHeadModel', SMALL | DECODER, 'a decoder, untied, tanh GELU'),
)
