"""Two Mamba layers for each of attention, https://arxiv.org/abs/2312.00752, .../2403.19887.

    python train.py --config=configs/mamba_hybrid.py --workdir=runs/mamba_hybrid

The hybrid is one line, `config.model.mixers`. There are no position codes: Mamba's state knows the
order.

| measured on            | validation, bits per byte | time                        |
| ---------------------- | ------------------------- | --------------------------- |
| two CPU cores, float32 | 1.934                     | 410 s, other work beside it |

Published: none on this corpus.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config()
    config.steps = 300
    config.batch_size = 8
    config.context = 256
    config.learning_rate = 3e-3
    config.eval_every = 150
    config.checkpoint_every = 150
    config.model.mixers = ('mamba', 'mamba', 'attention')
    config.model.positions = 'none'
    config.model.width = 128
    config.model.depth = 3
    config.model.heads = 4
    config.model.mlp = 'relu2'
    config.model.hidden = 256
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.sample.prompts = ('def ',)
    return config
