from tests.hf.cases import Case
from tests.hf.cases.bert import SMALL as BERT

SMALL = BERT | {'embedding_size': 8}
THREE = {'num_labels': 3}
DECODER = {'is_decoder': True, 'tie_word_embeddings': False}
EQUAL = {'embedding_size': 16, 'hidden_act': 'relu'}

CASES = (
    Case('electra/discriminator', 'ElectraForPreTraining', SMALL, fixture=True),
    Case('electra/generator', 'ElectraForMaskedLM', SMALL, fixture=True),
    Case('electra/base', 'ElectraModel', SMALL),
    Case('electra/classes', 'ElectraForSequenceClassification', SMALL | THREE),
    Case('electra/token_classes', 'ElectraForTokenClassification', SMALL),
    Case('electra/answers', 'ElectraForQuestionAnswering', SMALL),
    Case('electra/equal', 'ElectraForPreTraining', SMALL | EQUAL, 'no projection, ReLU'),
    Case('electra/causal', 'ElectraForCausalLM', SMALL | DECODER, 'a decoder, untied'),
)
