"""T5 1.0 and 1.1, mT5, and Switch: T5 with experts in every other layer."""

import dataclasses

from transformer.models.assemble import Sizes
from transformer.models.encoder_decoder import EncoderDecoderOptions
from transformer.models.table import rows

T5 = EncoderDecoderOptions(
    mlp='relu',
    norm='rmsnorm',
    norm_eps=1e-6,
    positions='t5',
    attention_scale=1.0,
    head_scale=True,
    stack_dropout=True,
    dropout=0.1,
    init_std=0.0,
)
V1_1 = dataclasses.replace(T5, mlp='geglu_tanh', tied=False, head_scale=False)
SMALL = {'width': 512, 'depth': 8, 'heads': 6, 'head_width': 64, 'hidden': 1024}
BASE = {'width': 768, 'depth': 12, 'heads': 12, 'hidden': 2048}
LARGE = {'width': 1024, 'depth': 24, 'heads': 16, 'hidden': 2816}
XL = {'width': 2048, 'depth': 24, 'heads': 32, 'hidden': 5120}
XXL = {'width': 4096, 'depth': 24, 'heads': 64, 'hidden': 10_240}
GATED = {'small': SMALL, 'base': BASE, 'large': LARGE, 'xl': XL, 'xxl': XXL}

MODELS = [
    *rows(
        't5',
        'https://arxiv.org/abs/1910.10683',
        T5,
        Sizes(vocab=32_128, context=512, target_context=512),
        {
            'small': {'width': 512, 'depth': 6, 'heads': 8, 'hidden': 2048},
            'base': {'width': 768, 'depth': 12, 'heads': 12, 'hidden': 3072},
            'large': {'width': 1024, 'depth': 24, 'heads': 16, 'hidden': 4096},
            '3b': {'width': 1024, 'depth': 24, 'heads': 32, 'head_width': 128, 'hidden': 16_384},
            '11b': {'width': 1024, 'depth': 24, 'heads': 128, 'head_width': 128, 'hidden': 65_536},
        },
    ),
    *rows(
        't5-1.1',
        'https://arxiv.org/abs/2002.05202',
        V1_1,
        Sizes(vocab=32_128, context=512, target_context=512),
        GATED,
    ),
    *rows(
        'mt5',
        'https://arxiv.org/abs/2010.11934',
        V1_1,
        Sizes(vocab=250_112, context=1024, target_context=1024),
        GATED,
    ),
    *rows(
        'switch',
        'https://arxiv.org/abs/2101.03961',
        T5,
        Sizes(vocab=32_128, context=512, target_context=512),
        {
            f'base-{experts}': {
                'width': 768,
                'depth': 12,
                'heads': 12,
                'hidden': 3072,
                'experts': experts,
                'expert_every': 2,
                'expert_capacity': 1.25,
                'expert_jitter': 0.01,
            }
            for experts in (8, 16, 32, 64, 128, 256)
        },
    ),
]
