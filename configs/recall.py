"""Associative recall with many queries (MQAR), https://arxiv.org/abs/2312.04927, by mixer.

    python train.py --config=configs/recall.py:mamba --workdir=runs/recall --config.model.width=32

':attention' is the default; the others are ':window', ':linear', ':retnet', ':mamba', ':hybrid'.
Rows of 64 tokens tell 8 pairs of a key and a value, of 63 keys and 64 values, and ask for each
once; two layers without MLPs, and one head. Learnt positions where a mixer has no order of its own.

With '-full' behind the name the sizes are those of the paper's figure 2: rows of 256 tokens with 16
pairs, 8,192 tokens, 25,000 steps of 256 rows (100,000 rows, 64 times; here all are drawn anew), and
four layers but for attention, which has two. It takes the best of four learning rates, from 1e-4 to
1e-2. An accelerator is needed.

Published (figure 2): attention answers all queries at every width; models with a state of fixed
size need a width that grows with the pairs. Measured with attention, width 64, one random start,
two CPU cores: accuracy 0.15 at step 200, 0.988 at 350, 0.999 at 500; width 32 stays at 0.15 for
1,000 steps, width 16 at 0.10 for 800. Mamba has 4 numbers a channel there and no wider channels.
All of it, with every mixer: `python -m results.run recall`.
"""

from transformer.experiment import default_config

KINDS = {
    'attention': {'positions': 'learned'},
    'window': {'positions': 'learned', 'window': 16},
    'linear': {'mixers': ('linear',), 'positions': 'learned'},
    'retnet': {'mixers': ('retnet',), 'positions': 'none'},
    'mamba': {'mixers': ('mamba',), 'positions': 'none'},
    'hybrid': {'mixers': ('mamba', 'attention'), 'positions': 'none'},
}
MIXERS = {'': ('attention', False)}
MIXERS |= {kind: (kind, False) for kind in KINDS} | {f'{kind}-full': (kind, True) for kind in KINDS}


def get_config(mixer: str = ''):
    if mixer not in MIXERS:
        known = ', '.join(filter(None, MIXERS))
        raise ValueError(f'unknown mixer {mixer!r}; known: {known}')
    kind, full = MIXERS[mixer]
    config = default_config('decoder', 'recall')
    config.steps = 500
    config.batch_size = 64
    config.context = 64
    config.learning_rate = 3e-3
    config.log_every = 50
    config.eval_every = 100
    config.checkpoint_every = 0
    config.checkpoint.keep_best = 0  # the last is as good, and saving at each gain takes time
    config.log.tensorboard = False
    config.model.width = 64
    config.model.depth = 2
    config.model.heads = 1
    config.model.mlp = 'none'
    config.model.tied = False
    config.model.init_std = 0.0
    config.model.update(KINDS[kind])
    if 'mamba' in config.model.mixers and not full:
        config.model.mamba_state, config.model.mamba_expand = 4, 1  # on CPUs its scan is slow
    if full:
        config.steps = 25_000
        config.batch_size = 256
        config.context = 256
        config.learning_rate = 1e-3
        config.eval_every = 1000
        config.checkpoint_every = 1000
        config.objective.update({'tokens': 8192, 'pairs': 16, 'held_out': 3000})
        config.model.depth = 2 if kind == 'attention' else 4
    return config
