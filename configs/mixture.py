"""One decoder, two sources: a quarter of the rows is yours, the rest Python's standard library.

    python train.py --config=configs/mixture.py --workdir=runs/mixture \\
        --config.data.mixture.prose.path=tinyshakespeare.txt
    python -m data.show --config=configs/mixture.py --n=4 \\
        --config.data.mixture.prose.path=tinyshakespeare.txt

The quickstart's model and length of training; the tokenizer is trained on both. `prose` can be a
text file, a folder, a glob, Parquet, JSON lines, a TFDS directory: see docs/data.md. More sources
are more entries, each with its weight and, if need be, its `epochs` at most.

Published: none. What to look for: the metrics have `loss/code` and `loss/prose`, and `data.show`
says that prose has 25.0% of the rows.
"""

from transformer.data_config import source
from transformer.experiment import default_config


def get_config():
    config = default_config()
    config.data.mixture = {
        'code': source(dataset='python_stdlib', weight=3.0),
        'prose': source(path='prose', weight=1.0),  # to be given
    }
    config.steps = 600
    config.batch_size = 16
    config.context = 256
    config.learning_rate = 3e-3
    config.eval_every = 300
    config.checkpoint_every = 100
    config.model.width = 160
    config.model.depth = 6
    config.model.heads = 5
    config.model.mlp = 'relu2'
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.sample.prompts = ('def ', 'ROMEO:')
    return config
