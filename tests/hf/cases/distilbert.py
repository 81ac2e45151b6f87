from tests.hf.cases import Case

SMALL = {
    'dim': 16,
    'n_layers': 2,
    'n_heads': 2,
    'hidden_dim': 24,
    'vocab_size': 43,
    'max_position_embeddings': 24,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
THREE = {'num_labels': 3}
UNTIED = {'tie_word_embeddings': False, 'activation': 'relu', 'sinusoidal_pos_embds': True}

CASES = (
    Case('distilbert/masked', 'DistilBertForMaskedLM', SMALL, fixture=True),
    Case('distilbert/base', 'DistilBertModel', SMALL),
    Case('distilbert/classes', 'DistilBertForSequenceClassification', SMALL | THREE, fixture=True),
    Case('distilbert/token_classes', 'DistilBertForTokenClassification', SMALL | THREE),
    Case('distilbert/answers', 'DistilBertForQuestionAnswering', SMALL),
    Case('distilbert/untied', 'DistilBertForMaskedLM', SMALL | UNTIED, 'untied, ReLU, sinusoids'),
)
