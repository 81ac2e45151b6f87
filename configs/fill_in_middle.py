"""A small decoder learns to fill gaps in code, https://arxiv.org/abs/2207.14255.

    python train.py --config=configs/fill_in_middle.py --workdir=runs/middle
    python generate.py --workdir=runs/middle --temperature=0 \\
        --prompt='def add(a, b):<|fim_middle|>    return total'

The quickstart with half of the documents rearranged: each is split at two random characters, and
what was between them comes last, after what was before and after it. A prompt with a gap is
answered by what belongs there; one without is continued.

Published: rearranging half to all documents does not harm the loss of ordinary text (section 4.1).
Compare with the quickstart: the validation rows are rearranged as well, so its losses are not the
same measure.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config('decoder', 'fill_in_middle')
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
    config.sample.prompts = ('import os<|fim_middle|>\n\ndef main():', 'def ')
    return config
