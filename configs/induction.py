"""Induction heads, https://arxiv.org/abs/2209.11895: two layers of attention, or one, and no MLP.

    python train.py --config=configs/induction.py --workdir=runs/induction
    python train.py --config=configs/induction.py:one --workdir=runs/one_layer

Rows of 64 tokens repeat a random segment of 8 to 32 different tokens; what is learnt and counted is
each token that follows one which was seen before. `python -m transformer.inspect
--workdir=runs/induction --example=0` shows which head looks where.

Published: one layer cannot, two layers can after a sudden jump. Measured with two layers, one
random start, two CPU cores: accuracy 0.09 at step 150, 0.56 at 200, 0.992 at 250, 0.999 at 300.
All random starts, with one layer beside them: `python -m results.run induction`.
"""

from transformer.experiment import default_config

LAYERS = {'': 2, 'two': 2, 'one': 1}


def get_config(layers: str = ''):
    if layers not in LAYERS:
        known = ', '.join(filter(None, LAYERS))
        raise ValueError(f'unknown number of layers {layers!r}; known: {known}')
    config = default_config('decoder', 'repeats')
    config.steps = 1000
    config.batch_size = 64
    config.context = 64
    config.learning_rate = 3e-3
    config.log_every = 50
    config.eval_every = 20
    config.checkpoint_every = 500
    config.checkpoint.keep_best = 0  # the last is as good, and saving at each gain takes time
    config.log.tensorboard = False
    config.model.width = 64
    config.model.depth = LAYERS[layers]
    config.model.heads = 4
    config.model.mlp = 'none'
    config.model.tied = False
    config.model.init_std = 0.0
    return config
