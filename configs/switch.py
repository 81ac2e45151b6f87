"""A decoder with experts, https://arxiv.org/abs/2101.03961: Switch, each token to 1 of 8.

    python train.py --config=configs/switch.py --workdir=runs/switch
    python train.py --config=configs/switch.py:dropless --workdir=runs/switch_dropless
    python train.py --config=configs/switch.py:dense --workdir=runs/switch_dense

Every other layer has eight MLPs instead of one: more parameters than ':dense', the same FLOPs a
token. `experts/dropped` in `metrics.jsonl` counts the tokens that found their expert full.

| measured on two CPU cores, float32 | parameters | validation, bits per byte | time  |
| ---------------------------------- | ---------- | ------------------------- | ----- |
| default, capacity 1.25             | 2,886,784  | 1.977                     | 158 s |
| dense                              | 1,049,728  | 2.019                     | 142 s |

Published: at equal FLOPs a token, the loss at equal steps falls as experts are added (figure 1).
`python -m results.run experts` compares 1, 4 and 16 with three seeds, see docs/papers.md.
"""

from transformer.experiment import default_config

EXPERTS = {'experts': 8, 'expert_every': 2}
ROUTING = {'': EXPERTS | {'expert_capacity': 1.25}, 'dropless': EXPERTS, 'dense': {}}


def get_config(routing: str = ''):
    if routing not in ROUTING:
        raise ValueError(f'unknown routing {routing!r}; known: {", ".join(filter(None, ROUTING))}')
    config = default_config()
    config.steps = 300
    config.batch_size = 8
    config.context = 256
    config.learning_rate = 3e-3
    config.eval_every = 150
    config.checkpoint_every = 150
    config.model.width = 128
    config.model.depth = 4
    config.model.heads = 4
    config.model.mlp = 'relu2'
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.model.update(ROUTING[routing])
    config.data.vocab = 2048
    config.sample.prompts = ('def ',)
    return config
