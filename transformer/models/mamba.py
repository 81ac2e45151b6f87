"""Mamba, https://arxiv.org/abs/2312.00752: blocks of one mixer, no attention and no MLP."""

from transformer.models.assemble import Sizes
from transformer.models.decoder import DecoderOptions
from transformer.models.table import rows

OPTIONS = DecoderOptions(
    mixers=('mamba',), mlp='none', positions='none', norm='rmsnorm', norm_eps=1e-5, heads=1
)
MODELS = rows(
    'mamba',
    'https://arxiv.org/abs/2312.00752',
    OPTIONS,
    Sizes(vocab=50_280, context=2048),
    {
        '130m': {'width': 768, 'depth': 24},
        '370m': {'width': 1024, 'depth': 48},
        '790m': {'width': 1536, 'depth': 48},
        '1.4b': {'width': 2048, 'depth': 48},
        '2.8b': {'width': 2560, 'depth': 64},
    },
)
