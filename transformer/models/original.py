"""The original Transformer, https://arxiv.org/abs/1706.03762, table 3: base and big."""

from transformer.models.assemble import Sizes
from transformer.models.encoder_decoder import EncoderDecoderOptions
from transformer.models.table import rows

OPTIONS = EncoderDecoderOptions(
    depth=6,
    mlp='relu',
    norm='layernorm',
    residual='post',
    positions='sinusoidal',
    bias=True,
    embed_scale=True,
    dropout=0.1,
    init_std=0.0,
)
# One vocabulary of about 37,000 byte pairs for both languages (section 5.1).
MODELS = rows(
    'transformer',
    'https://arxiv.org/abs/1706.03762',
    OPTIONS,
    Sizes(vocab=37_000, context=512),
    {
        'base': {'width': 512, 'heads': 8, 'hidden': 2048},
        'big': {'width': 1024, 'heads': 16, 'hidden': 4096, 'dropout': 0.3},
    },
)
