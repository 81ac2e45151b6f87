"""nanoGPT's shakespeare-char: a character model of 1.1 MB of Shakespeare.

    python train.py --config=configs/shakespeare_char.py --workdir=runs/shakespeare
    python train.py --config=configs/shakespeare_char.py:cpu --workdir=runs/shakespeare_cpu

The text is TFDS's `tiny_shakespeare`, downloaded once; any other text file comes by
`--config.data.path=FILE`. The first 90% train, the last 10% validate, as in nanoGPT.

| size    | published (https://github.com/karpathy/nanoGPT)     | measured here |
| ------- | --------------------------------------------------- | ------------- |
| default | best validation loss 1.4697, 5,000 steps on an A100 | not run yet: needs a GPU or TPU |
| cpu     | validation loss 1.88, 2,000 steps                   | 1.9009, two CPU cores, 97-157 s |

Validation loss is over the whole split here, every character once; nanoGPT draws random rows.
Other random starts of the CPU size: 1.8936, 1.9054, 1.9098. `python -m results.run shakespeare`
trains three of them and compares, see docs/papers.md.
"""

from transformer.experiment import default_config

SIZES = {
    '': {'width': 384, 'depth': 6, 'heads': 6, 'dropout': 0.2},
    'cpu': {'width': 128, 'depth': 4, 'heads': 4, 'dropout': 0.0},
}
TRAINING = {
    '': {'steps': 5000, 'batch_size': 64, 'context': 256, 'eval_every': 250},
    'cpu': {'steps': 2000, 'batch_size': 12, 'context': 64, 'eval_every': 500},
}


def get_config(size: str = ''):
    if size not in SIZES:
        raise ValueError(f'unknown size {size!r}; known: {", ".join(filter(None, SIZES))}')
    config = default_config()
    config.update(TRAINING[size])
    config.model.update(SIZES[size])
    config.learning_rate = 1e-3
    config.log_every = 50
    config.checkpoint_every = 500
    config.optimizer.warmup = 100 / config.steps
    config.optimizer.b2 = 0.99
    config.model.positions = 'learned'
    config.model.norm = 'layernorm_no_bias'
    config.data.dataset = 'tiny_shakespeare/nanogpt'
    config.data.tokenizer = 'characters'
    config.data.vocab = 0
    config.sample.prompts = ('\n',)
    config.sample.tokens = 300
    return config
