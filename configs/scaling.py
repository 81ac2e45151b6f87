"""Loss against size, https://arxiv.org/abs/2001.08361; the best size for a budget, 2203.15556.

    python train.py --config=configs/scaling.py:442k --workdir=runs/442k

Six models, of 24,576 to 2,654,208 parameters besides embeddings and norms (12 * depth * width^2),
read the same 2.05 million tokens of Python's standard library, none of them twice. Learning rates
fall with the width, https://arxiv.org/abs/2203.03466.

    python train.py --config=configs/scaling.py:iso_10m --workdir=runs/iso_10m \\
        --config.steps=5089 --config.data.path=TEXTS

Sizes `iso_` are for accelerators, https://arxiv.org/abs/2203.15556, section 3.2: some of them are
trained with equal FLOPs, 6 * parameters * tokens, by steps that `steps` gives. TEXTS (docs/data.md)
are to have as many tokens as the longest of these runs reads: 1.7 billion for 1e17 FLOPs.

Published: L ~ N^-0.076 where data are no limit (2001.08361); L = 1.69 + A N^-0.34 + B D^-0.28, and
the best size grows with compute to the power 0.49 (2203.15556).
"""

from transformer.experiment import default_config

# (width, depth)
SIZES = {
    '': (96, 4),
    '25k': (32, 2),
    '49k': (32, 4),
    '147k': (64, 3),
    '442k': (96, 4),
    '1.2m': (128, 6),
    '2.7m': (192, 6),
}
# By the number of all parameters.
ISOFLOP = {
    'iso_2m': (128, 4),
    'iso_3m': (192, 4),
    'iso_6m': (256, 5),
    'iso_10m': (320, 6),
    'iso_20m': (448, 7),
    'iso_40m': (576, 9),
    'iso_84m': (768, 11),
    'iso_172m': (1024, 13),
}
VOCAB = {'small': 1024, 'large': 8192}
ROWS = {'small': (8, 256), 'large': (64, 512)}  # rows a step, tokens a row


def get_config(size: str = ''):
    sizes = SIZES | ISOFLOP
    if size not in sizes:
        raise ValueError(f'unknown size {size!r}; known: {", ".join(filter(None, sizes))}')
    kind = 'large' if size in ISOFLOP else 'small'
    config = default_config()
    config.steps = 1000
    config.batch_size, config.context = ROWS[kind]
    config.model.width, config.model.depth = sizes[size]
    head_width = 64 if kind == 'large' else 32
    config.model.heads = config.model.width // head_width
    config.learning_rate = 0.48 / config.model.width
    config.eval_every = 0
    config.checkpoint_every = 500
    config.model.mlp = 'relu2'
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.data.vocab = VOCAB[kind]
    if kind == 'large':
        config.data.path = 'texts'  # to be given
    return config


def matrices(size: str) -> int:
    """Parameters of the matrices of the layers, four of attention and two of an MLP each."""
    width, depth = (SIZES | ISOFLOP)[size]
    return 12 * depth * width**2


def steps(size: str, flops: float) -> int:
    """Steps of one of `ISOFLOP` that take so many FLOPs, 6 for each parameter and token."""
    width, _ = ISOFLOP[size]
    rows, length = ROWS['large']
    return round(flops / (6 * (matrices(size) + VOCAB['large'] * width) * rows * length))
