"""A small decoder learns the interpreter's own standard library: the whole pipeline in minutes.

python train.py --config=configs/quickstart.py --workdir=runs/quickstart
"""

from transformer.experiment import default_config


def get_config():
    config = default_config()
    config.steps = 600
    config.batch_size = 16
    config.context = 256
    config.learning_rate = 3e-3
    config.model.width = 192
    config.model.depth = 6
    config.model.heads = 3
    config.model.mlp = 'relu2'
    config.model.init_std = 0.0
    config.sample.prompts = ('def ', 'import ', 'class ')
    return config
