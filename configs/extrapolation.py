"""Trained on short rows, tested on longer ones, https://arxiv.org/abs/2108.12409: ALiBi holds.

    python train.py --config=configs/extrapolation.py:alibi --workdir=runs/alibi
    python eval.py --workdir=runs/alibi --config.context=512

The same for ':rope', ':sinusoidal' and ':none'; ':alibi' is the default. The model and its text are
those of `shakespeare_char.py:cpu`, with more rows a step, of 64 characters, at a higher rate: ALiBi
comes to 1.73 nats, at 1e-3 to 1.82. Sinusoids are added to vectors of their own size, as in the
original Transformer: token vectors of 0.02 drown in them (2.37 nats after 2,000 steps of 12 rows,
where ALiBi came to 1.86; one random start each). `eval.py` cuts the
validation split, every character of it, into rows of the longer length; with `--parts=4` it also
tells the loss of each quarter of them. Rotary positions can be stretched there without training:
`--config.model.rope_scaling=ntk --config.model.rope_factor=8`.

Published (figure 1, WikiText-103, trained on 512 and 1,024 tokens): with sinusoids perplexity
rises a little beyond the trained length, with rotary positions some hundred tokens later; with
ALiBi it falls, then stays.
"""

from transformer.experiment import default_config

POSITIONS = {name: name or 'alibi' for name in ('', 'alibi', 'rope', 'sinusoidal', 'none')}


def get_config(positions: str = ''):
    if positions not in POSITIONS:
        known = ', '.join(filter(None, POSITIONS))
        raise ValueError(f'unknown positions {positions!r}; known: {known}')
    config = default_config()
    config.steps = 1200
    config.batch_size = 32
    config.context = 64
    config.learning_rate = 3e-3
    config.log_every = 50
    config.eval_every = 400
    config.checkpoint_every = 400
    config.optimizer.warmup = 100 / config.steps
    config.optimizer.b2 = 0.99
    config.model.width = 128
    config.model.depth = 4
    config.model.heads = 4
    config.model.norm = 'layernorm_no_bias'
    config.model.positions = POSITIONS[positions]
    if positions == 'sinusoidal':
        config.model.embed_scale = True
        config.model.init_std = config.model.width**-0.5
    config.data.dataset = 'tiny_shakespeare/nanogpt'
    config.data.tokenizer = 'characters'
    config.data.vocab = 0
    return config
