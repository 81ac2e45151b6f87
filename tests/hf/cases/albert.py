from tests.hf.cases import Case
from tests.hf.cases.bert import SMALL as BERT

SMALL = BERT | {'embedding_size': 8, 'num_hidden_layers': 3}
THREE = {'num_labels': 3}
UNTIED = {'tie_word_embeddings': False, 'hidden_act': 'relu'}
GROUPS = {'num_hidden_groups': 2, 'inner_group_num': 2}
EQUAL = {'embedding_size': 16, 'inner_group_num': 2}

CASES = (
    Case('albert/masked', 'AlbertForMaskedLM', SMALL, 'shared layers'),
    Case('albert/base', 'AlbertModel', SMALL),
    Case('albert/classes', 'AlbertForSequenceClassification', SMALL | THREE, fixture=True),
    Case('albert/token_classes', 'AlbertForTokenClassification', SMALL),
    Case('albert/answers', 'AlbertForQuestionAnswering', SMALL),
    Case(
        'albert/groups',
        'AlbertForMaskedLM',
        SMALL | GROUPS,
        'two sets of two layers over three repeats',
        fixture=True,
    ),
    Case('albert/untied', 'AlbertForMaskedLM', SMALL | UNTIED, 'untied, ReLU'),
    Case(
        'albert/pairs',
        'AlbertForMaskedLM',
        SMALL | EQUAL,
        'pairs of layers, token vectors as wide as the model',
    ),
)
