"""Grokking, https://arxiv.org/abs/2301.05217: a + b modulo 113, learnt from a share of all sums.

    python train.py --config=configs/grokking.py:0.4 --workdir=runs/grokking

What follows the colon is the share, from 0.3 to 0.9; ':0.4' is the default. One layer without
norms, learnt positions, MLP with ReLU; AdamW at a constant rate, whose weight decay is 1 for every
matrix, embeddings included; every step sees all rows.

Published (the authors' saved curves): training loss below 0.01 at step 272 for half of the sums and
at 268 for 0.4; test loss at 1,109 and at 3,324. There losses are reckoned in float64, and attention
has no biases. How kernels start matters: where those that write into the residual stream start
smaller by sqrt(2), as in GPT-2, half of the sums are known at step 200, the others at 540. Both
shares, with all random starts: `python -m results.run grokking`.
"""

from transformer.experiment import default_config

# Share of all sums: steps. Fewer examples put off what they have in common.
STEPS = {'': 3400, '0.3': 30_000, '0.4': 3400, '0.5': 1200}
STEPS |= dict.fromkeys(('0.6', '0.7', '0.8', '0.9'), 1500)


def get_config(share: str = ''):
    if share not in STEPS:
        known = ', '.join(filter(None, STEPS))
        raise ValueError(f'unknown share {share!r}; known: {known}')
    config = default_config('decoder', 'modular_addition')
    config.objective.share = float(share or '0.4')
    config.steps = STEPS[share]
    config.batch_size = int(config.objective.share * config.objective.modulus**2)
    config.context = 3
    config.learning_rate = 1e-3
    config.log_every = 4
    config.eval_every = 20
    config.checkpoint_every = 500
    config.checkpoint.keep_best = 0  # the last is as good, and saving at each gain takes time
    config.log.tensorboard = False
    config.optimizer.update({'b1': 0.9, 'b2': 0.98, 'weight_decay': 1.0, 'clip': 0.0})
    config.optimizer.update({'warmup': 10 / config.steps, 'final': 1.0})
    config.model.width = 128
    config.model.depth = 1
    config.model.heads = 4
    config.model.hidden = 512
    config.model.mlp = 'relu'
    config.model.norm = 'none'
    config.model.positions = 'learned'
    config.model.tied = False
    config.model.init_std = config.model.width**-0.5
    config.model.init_residual = 1.0
    config.model.bias = True
    return config
