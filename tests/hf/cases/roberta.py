from tests.hf.cases import Case
from tests.hf.cases.bert import SMALL as BERT

SMALL = BERT | {'pad_token_id': 1, 'bos_token_id': 0, 'type_vocab_size': 1}
THREE = {'num_labels': 3}
# Four more places than the table of positions would need: the first has row 5.
PADDING = {'pad_token_id': 4, 'type_vocab_size': 2, 'hidden_act': 'relu'}
DECODER = {'is_decoder': True, 'tie_word_embeddings': False}

CASES = (
    Case('roberta/masked', 'RobertaForMaskedLM', SMALL, fixture=True),
    Case('roberta/base', 'RobertaModel', SMALL),
    Case('roberta/classes', 'RobertaForSequenceClassification', SMALL | THREE, fixture=True),
    Case('roberta/token_classes', 'RobertaForTokenClassification', SMALL),
    Case('roberta/answers', 'RobertaForQuestionAnswering', SMALL),
    Case(
        'roberta/padding', 'RobertaForMaskedLM', SMALL | PADDING, 'padding is token 4, types, ReLU'
    ),
    Case('roberta/causal', 'RobertaForCausalLM', SMALL | DECODER, 'a decoder, untied'),
    Case('xlm-roberta/masked', 'XLMRobertaForMaskedLM', SMALL),
    Case('camembert/masked', 'CamembertForMaskedLM', SMALL),
)
