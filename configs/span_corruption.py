"""A small T5 learns the standard library by restoring cut-out spans, arxiv.org/abs/1910.10683.

    python train.py --config=configs/span_corruption.py --workdir=runs/span_corruption
    python generate.py --workdir=runs/span_corruption --prompt="import <extra_id_0>"

15% of the tokens in spans of 3 on average: 141 tokens of text are 128 inputs and 29 targets.

| measured on            | validation loss, nats a target | accuracy | time                        |
| ---------------------- | ------------------------------ | -------- | --------------------------- |
| two CPU cores, float32 | 4.300 (8.07 at the start)      | 30.3%    | 594 s, other work beside it |

Published: none on this corpus.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config('encoder_decoder', 'span_corruption')
    config.steps = 500
    config.batch_size = 16
    config.context = 128
    config.learning_rate = 3e-3
    config.eval_every = 250
    config.checkpoint_every = 250
    config.model.width = 160
    config.model.depth = 3
    config.model.heads = 5
    config.model.mlp = 'geglu_tanh'
    config.model.positions = 't5'
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.data.vocab = 2048
    config.sample.temperature = 0.0
    config.sample.prompts = ('import <extra_id_0>\n', 'for i in <extra_id_0>(10):\n')
    return config
