from tests.hf.cases import Case
from tests.hf.cases.vit import ODD, SMALL

CASES = (
    Case(
        'deit/taught',
        'DeiTForImageClassificationWithTeacher',
        SMALL | {'num_labels': 3},
        'the mean of two classifiers',
        fixture=True,
    ),
    Case('deit/classes', 'DeiTForImageClassification', SMALL | {'num_labels': 3}),
    Case('deit/base', 'DeiTModel', SMALL | ODD, fixture=True),
)
