"""Associative recall with many queries (MQAR), https://arxiv.org/abs/2312.04927, by mixer.

    python train.py --config=configs/recall.py:mamba --workdir=runs/recall --config.model.width=32

':attention' is the default; the others are ':window', ':linear', ':retnet', ':mamba', ':hybrid'.
Rows of 32 tokens tell 4 pairs of a key and a value, of 31 keys and 32 values, and ask for each
once; two layers without MLPs, and one head. Learnt positions where a mixer has no order of its own.

With '-full' behind the name the sizes are those of the paper's figure 2: rows of 256 tokens with 16
pairs, 8,192 tokens, 25,000 steps of 256 rows (100,000 rows, 64 times; here all are drawn anew), and
four layers but for attention, which has two. It takes the best of four learning rates, from 1e-4 to
1e-2. An accelerator is needed.

Published (figure 2): attention answers all queries at every width; models with a state of fixed
size need a width that grows with the pairs. Measured: docs/papers.md.

With 8 pairs in 64 tokens (rows, keys and values twice as many, 500 steps of 64 rows), models of a
fixed state did not learn in time: they answered with one of the row's values, right in 0.06 to 0.15
of the cases at widths 32 to 96. Attention did from width 64 on (0.98), after Mamba at 32 (1.00).
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
    config.steps = 800
    config.batch_size = 128
    config.context = 32
    config.objective.update({'tokens': 64, 'pairs': 4})
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
