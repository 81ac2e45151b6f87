"""BART, https://arxiv.org/abs/1910.13461."""

from transformer.models.assemble import Sizes
from transformer.models.encoder_decoder import EncoderDecoderOptions
from transformer.models.table import rows

OPTIONS = EncoderDecoderOptions(
    mlp='gelu',
    norm='layernorm',
    residual='post',
    positions='learned',
    position_offset=2,
    bias=True,
    embed_norm=True,
    dropout=0.1,
)
MODELS = rows(
    'bart',
    'https://arxiv.org/abs/1910.13461',
    OPTIONS,
    Sizes(vocab=50_265, context=1024, target_context=1024),
    {
        'base': {'width': 768, 'depth': 6, 'heads': 12},
        'large': {'width': 1024, 'depth': 12, 'heads': 16},
    },
)
