"""The quickstart's decoder with experts, https://arxiv.org/abs/2101.03961: Switch, top 1 of 8.

    python train.py --config=configs/switch.py --workdir=runs/switch
    python train.py --config=configs/switch.py:dropless --workdir=runs/switch_dropless

Every other layer has eight MLPs instead of one, and each token goes to one of them: the FLOPs a
token are the quickstart's, the parameters are not. `experts/dropped` in `metrics.jsonl` counts the tokens
that found their expert full.

| measured on two CPU cores, float32 | validation, bits per byte | time |
| ---------------------------------- | ------------------------- | ---- |
| capacity 1.25                      | MEASURE                   |      |

Published: at equal FLOPs a token, the loss at equal steps falls as experts are added (figure 1).
"""

from transformer.experiment import default_config

CAPACITY = {'': 1.25, 'dropless': 0.0}


def get_config(routing: str = ''):
    if routing not in CAPACITY:
        raise ValueError(f'unknown routing {routing!r}; known: {", ".join(filter(None, CAPACITY))}')
    config = default_config()
    config.steps = 600
    config.batch_size = 16
    config.context = 256
    config.learning_rate = 3e-3
    config.eval_every = 300
    config.checkpoint_every = 300
    config.model.width = 160
    config.model.depth = 6
    config.model.heads = 5
    config.model.mlp = 'relu2'
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.model.experts = 8
    config.model.expert_every = 2
    config.model.expert_capacity = CAPACITY[routing]
    config.sample.prompts = ('def ',)
    return config
