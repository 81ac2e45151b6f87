"""ELECTRA, https://arxiv.org/abs/2003.10555: a generator of tokens and what finds them out.

BERT with token vectors of their own width and without a pooler.
"""

import functools

from transformer.config import TransformerConfig
from transformer.heads import ClassHeadConfig, TokenClassHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings
from transformer.hf.table import Family, Head
from transformer.models.checkpoints import bert

# Of ElectraForMultipleChoice, which is not here.
SUMMARY = ('summary_type', 'summary_use_proj', 'summary_activation', 'summary_last_dropout')
DEFAULTS = bert.DEFAULTS | {
    'embedding_size': 128,
    'hidden_size': 256,
    'num_attention_heads': 4,
    'intermediate_size': 1024,
}


def body(s: Settings) -> TransformerConfig:
    s.ignore(*SUMMARY)
    return bert.body(s, DEFAULTS)


def class_head(s: Settings) -> ClassHeadConfig:
    dropout = bert.class_dropout(s)
    return ClassHeadConfig(len(s.labels), 'first', 'gelu', dropout, dense_dropout=dropout)


def replaced_head(s: Settings) -> TokenClassHeadConfig:
    """Whether each token is the generator's."""
    return TokenClassHeadConfig(1, activation=s.activation('hidden_act', 'gelu'))


masked_head = functools.partial(bert.masked_head, defaults=DEFAULTS, activation='gelu')
PROJECT = linear('embed/project', 'embeddings_project', 'd', 'e')
MASKED = (
    *linear('head/dense', 'generator_predictions.dense', 'e', 'd'),
    *norm('head/norm', 'generator_predictions.LayerNorm'),
    Rule('head/kernel', 'generator_lm_head.weight'),
    Rule('head/bias', 'generator_lm_head.bias'),
)

FAMILIES = (
    Family(
        'electra',
        'encoder',
        body,
        (*bert.EMBED, *PROJECT, *bert.LAYER),
        'electra.',
        {
            'ElectraForPreTraining': Head(
                'replaced',
                replaced_head,
                (
                    *linear('head/dense', 'discriminator_predictions.dense', 'e', 'd'),
                    *bert.scores('discriminator_predictions.dense_prediction'),
                ),
            ),
            'ElectraForMaskedLM': Head('masked', masked_head, MASKED),
            'ElectraForCausalLM': Head(
                'tokens', masked_head, MASKED, body=bert.decoder(body), shape='decoder'
            ),
            'ElectraModel': Head(base=True),
            'ElectraForSequenceClassification': Head(
                'class',
                class_head,
                (
                    *linear('head/dense', 'classifier.dense', 'e', 'd'),
                    *bert.scores('classifier.out_proj'),
                ),
            ),
            'ElectraForTokenClassification': bert.TOKEN_CLASSES,
            'ElectraForQuestionAnswering': bert.ANSWERS,
        },
        unused=(r'embeddings\.(position|token_type)_ids', r'generator_lm_head\.weight'),
        settle=bert.tied_if_equal('electra.', 'generator_lm_head.weight'),
    ),
)
