"""Vision Transformers and DeiT, with the head for the 1,000 classes of ImageNet."""

from transformer.models.assemble import Sizes
from transformer.models.table import rows
from transformer.models.vision import VisionOptions

OPTIONS = VisionOptions(mlp='gelu', norm_eps=1e-12)
SIZES = Sizes(vocab=0, context=0, head='class', classes=1000)
MODELS = [
    *rows(
        'vit',
        'https://arxiv.org/abs/2010.11929',
        OPTIONS,
        SIZES,
        {
            'b16': {'width': 768, 'depth': 12, 'heads': 12, 'patch': 16},
            'b32': {'width': 768, 'depth': 12, 'heads': 12, 'patch': 32},
            'l16': {'width': 1024, 'depth': 24, 'heads': 16, 'patch': 16},
            'h14': {'width': 1280, 'depth': 32, 'heads': 16, 'patch': 14},
        },
    ),
    *rows(
        'deit',
        'https://arxiv.org/abs/2012.12877',
        OPTIONS,
        SIZES,
        {
            'ti16': {'width': 192, 'depth': 12, 'heads': 3, 'drop_path': 0.1},
            's16': {'width': 384, 'depth': 12, 'heads': 6, 'drop_path': 0.1},
            'b16': {'width': 768, 'depth': 12, 'heads': 12, 'drop_path': 0.1},
        },
    ),
]
