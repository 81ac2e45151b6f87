"""LLaMA 1 to 3, Mistral and Mixtral."""

import dataclasses

from transformer.models.assemble import Sizes
from transformer.models.decoder import DecoderOptions
from transformer.models.table import rows

LLAMA = DecoderOptions(mlp='swiglu', norm='rmsnorm', norm_eps=1e-6, tied=False)
SEVEN = {'width': 4096, 'depth': 32, 'heads': 32, 'hidden': 11_008}
THIRTEEN = {'width': 5120, 'depth': 40, 'heads': 40, 'hidden': 13_824}
EIGHT = {'width': 4096, 'depth': 32, 'heads': 32, 'kv_heads': 8, 'hidden': 14_336}
SEVENTY = {'width': 8192, 'depth': 80, 'heads': 64, 'kv_heads': 8, 'hidden': 28_672}
LLAMA3 = dataclasses.replace(LLAMA, norm_eps=1e-5, rope_theta=500_000.0)
STRETCHED = {'rope_scaling': 'llama3', 'context': 131_072}

MODELS = [
    *rows(
        'llama',
        'https://arxiv.org/abs/2302.13971',
        LLAMA,
        Sizes(vocab=32_000, context=2048),
        {
            '7b': SEVEN,
            '13b': THIRTEEN,
            '33b': {'width': 6656, 'depth': 60, 'heads': 52, 'hidden': 17_920},
            '65b': {'width': 8192, 'depth': 80, 'heads': 64, 'hidden': 22_016},
        },
    ),
    *rows(
        'llama2',
        'https://arxiv.org/abs/2307.09288',
        dataclasses.replace(LLAMA, norm_eps=1e-5),
        Sizes(vocab=32_000, context=4096),
        {'7b': SEVEN, '13b': THIRTEEN, '70b': SEVENTY},
    ),
    *rows(
        'llama3',
        'https://arxiv.org/abs/2407.21783',
        LLAMA3,
        Sizes(vocab=128_256, context=8192),
        {
            '8b': EIGHT,
            '70b': SEVENTY,
            '3.2-1b': {
                'width': 2048,
                'depth': 16,
                'heads': 32,
                'kv_heads': 8,
                'hidden': 8192,
                'tied': True,
                'rope_factor': 32.0,
                **STRETCHED,
            },
            '3.2-3b': {
                'width': 3072,
                'depth': 28,
                'heads': 24,
                'kv_heads': 8,
                'hidden': 8192,
                'tied': True,
                'rope_factor': 32.0,
                **STRETCHED,
            },
            '3.1-8b': EIGHT | STRETCHED,
            '3.1-405b': {
                'width': 16_384,
                'depth': 126,
                'heads': 128,
                'kv_heads': 8,
                'hidden': 53_248,
                **STRETCHED,
            },
        },
    ),
    *rows(
        'mistral',
        'https://arxiv.org/abs/2310.06825',
        dataclasses.replace(LLAMA, norm_eps=1e-5, window=4096),
        Sizes(vocab=32_000, context=8192),
        {'7b': EIGHT},
    ),
    *rows(
        'mixtral',
        'https://arxiv.org/abs/2401.04088',
        dataclasses.replace(
            LLAMA,
            norm_eps=1e-5,
            rope_theta=1e6,
            experts=8,
            top_k=2,
            expert_normalize=True,
            expert_balance=0.02,
            expert_z=0.0,
        ),
        Sizes(vocab=32_000, context=32_768),
        {
            '8x7b': EIGHT,
            '8x22b': {
                'width': 6144,
                'depth': 56,
                'heads': 48,
                'kv_heads': 8,
                'hidden': 16_384,
                'vocab': 32_768,
                'context': 65_536,
            },
        },
    ),
]
