"""A small BERT learns the standard library by filling gaps, https://arxiv.org/abs/1810.04805.

    python train.py --config=configs/masked_lm.py --workdir=runs/masked_lm
    python generate.py --workdir=runs/masked_lm --prompt="import [MASK]"

15% of the tokens are chosen anew at each epoch; 80% of them are hidden, 10% replaced, 10% kept.

| measured on            | masked accuracy, validation | loss  | time                        |
| ---------------------- | --------------------------- | ----- | --------------------------- |
| two CPU cores, float32 | 26.1%                       | 4.723 | 425 s, other work beside it |

Published: none on this corpus.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config('encoder', 'masked')
    config.steps = 500
    config.batch_size = 16
    config.context = 128
    config.learning_rate = 2e-3
    config.eval_every = 250
    config.checkpoint_every = 250
    config.model.width = 160
    config.model.depth = 4
    config.model.heads = 5
    config.model.positions = 'rope'
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.data.vocab = 2048
    config.sample.prompts = ('import [MASK]\n', 'for i in [MASK](10):\n', 'return [MASK]\n')
    return config
