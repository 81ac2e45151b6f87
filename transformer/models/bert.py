"""BERT and its kin. The counts include what their published checkpoints do: BERT and ALBERT the
pooler, RoBERTa the masked-token head, DistilBERT neither.
"""

import dataclasses

from transformer.models.assemble import Sizes
from transformer.models.encoder import EncoderOptions
from transformer.models.table import rows

BERT = EncoderOptions(
    mlp='gelu',
    norm='layernorm',
    norm_eps=1e-12,
    residual='post',
    positions='learned',
    bias=True,
    types=2,
    dropout=0.1,
)
SIZES = {
    'tiny': {'width': 128, 'depth': 2, 'heads': 2},
    'mini': {'width': 256, 'depth': 4, 'heads': 4},
    'small': {'width': 512, 'depth': 4, 'heads': 8},
    'medium': {'width': 512, 'depth': 8, 'heads': 8},
    'base': {'width': 768, 'depth': 12, 'heads': 12},
    'large': {'width': 1024, 'depth': 24, 'heads': 16},
}
MODELS = [
    *rows(
        'bert',  # tiny to medium: https://arxiv.org/abs/1908.08962
        'https://arxiv.org/abs/1810.04805',
        BERT,
        Sizes(vocab=30_522, context=512, head='pooled'),
        SIZES,
    ),
    *rows(
        'roberta',
        'https://arxiv.org/abs/1907.11692',
        dataclasses.replace(BERT, norm_eps=1e-5, types=1, position_offset=2),
        Sizes(vocab=50_265, context=512, head='masked'),
        {size: SIZES[size] for size in ('base', 'large')},
    ),
    *rows(
        'albert',  # version 2
        'https://arxiv.org/abs/1909.11942',
        dataclasses.replace(BERT, mlp='gelu_tanh', shared=True, token_width=128, dropout=0.0),
        Sizes(vocab=30_000, context=512, head='pooled'),
        {
            'base': {'width': 768, 'depth': 12, 'heads': 12},
            'large': {'width': 1024, 'depth': 24, 'heads': 16},
            'xlarge': {'width': 2048, 'depth': 24, 'heads': 16},
            'xxlarge': {'width': 4096, 'depth': 12, 'heads': 64},
        },
    ),
    *rows(
        'distilbert',
        'https://arxiv.org/abs/1910.01108',
        dataclasses.replace(BERT, types=0),
        Sizes(vocab=30_522, context=512, head='none'),
        {'base': {'width': 768, 'depth': 6, 'heads': 12}},
    ),
]
