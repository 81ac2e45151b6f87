"""RoBERTa, https://arxiv.org/abs/1907.11692, and XLM-R, https://arxiv.org/abs/1911.02116.

BERT whose places count the tokens that are not padding: the first has row `pad_token_id` + 1 of the
table, and padding the row before it.
"""

import functools

from transformer.config import TransformerConfig
from transformer.heads import ClassHeadConfig
from transformer.hf.rules import linear
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Family, Head
from transformer.models.checkpoints import bert

DEFAULTS = bert.DEFAULTS | {'vocab_size': 50_265}


def body(s: Settings, defaults=DEFAULTS) -> TransformerConfig:
    padding = s.get('pad_token_id', 1)
    if type(padding) is not int or padding < 0:
        raise refusal('pad_token_id', padding, 'a whole number from 0 on: places depend on it')
    return bert.body(s, defaults, padding + 1)


def class_head(s: Settings) -> ClassHeadConfig:
    dropout = bert.class_dropout(s)
    return ClassHeadConfig(len(s.labels), 'first', 'tanh', dropout, dense_dropout=dropout)


MASKED = bert.masked_rules('lm_head.dense', 'lm_head.layer_norm', 'lm_head')


def family(model_type: str, name: str, defaults=DEFAULTS) -> Family:
    """One of the families that differ in their tokens alone."""
    read = functools.partial(body, defaults=defaults)
    masked = functools.partial(bert.masked_head, defaults=defaults, activation='gelu')
    return Family(
        model_type,
        'encoder',
        read,
        (*bert.EMBED, *bert.LAYER),
        'roberta.',
        {
            f'{name}ForMaskedLM': Head('masked', masked, MASKED),
            f'{name}Model': bert.POOLED,
            f'{name}ForCausalLM': Head(
                'tokens', masked, MASKED, body=bert.decoder(read), shape='decoder'
            ),
            f'{name}ForSequenceClassification': Head(
                'class',
                class_head,
                (
                    *linear('head/dense', 'classifier.dense', 'e', 'd'),
                    *linear('head/classes', 'classifier.out_proj', 'c', 'd'),
                ),
            ),
            f'{name}ForTokenClassification': bert.TOKEN_CLASSES,
            f'{name}ForQuestionAnswering': bert.ANSWERS,
        },
        unused=(
            r'embeddings\.(position|token_type)_ids',
            r'lm_head\.decoder\.(weight|bias)',
        ),
        places='real',
        settle=bert.tied_if_equal('roberta.', 'lm_head.decoder.weight'),
    )


FAMILIES = (
    family('roberta', 'Roberta'),
    family('xlm-roberta', 'XLMRoberta', bert.DEFAULTS),
    family('camembert', 'Camembert', bert.DEFAULTS),
)
