"""A small decoder learns the interpreter's own standard library: the whole pipeline in minutes.

    python train.py --config=configs/quickstart.py --workdir=runs/quickstart
"""

from transformer.experiment import default_config


def get_config():
    config = default_config()
    return config
