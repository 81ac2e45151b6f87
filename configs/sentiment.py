"""A sentence is for or against: film reviews of Pang and Lee (2005), from scratch.

    python train.py --config=configs/sentiment.py --workdir=runs/sentiment --config.data.path=FILE
    python generate.py --workdir=runs/sentiment --prompt="a warm , funny and engaging film ."

FILE is NLTK's `sentence_polarity.zip` (https://www.nltk.org/nltk_data), or a folder with the same
two files: 5,331 sentences of each kind in Latin-1. A tenth is kept for validation, drawn by class.

| published, 10-fold                     | measured here, 1,066 held out |
| -------------------------------------- | ----------------------------- |
| CNN without pre-trained vectors: 76.1% | 77.9% after 600 steps         |
| CNN with them: 81.5%                   | 74.6% at the lowest loss, step 150 |

Published: https://arxiv.org/abs/1408.5882, table 2 (MR, CNN-rand and CNN-non-static). 502 s on two
CPU cores, float32, with other work on them.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config('encoder', 'classification')
    config.steps = 600
    config.batch_size = 64
    config.context = 64
    config.learning_rate = 5e-4
    config.log_every = 50
    config.eval_every = 50
    config.checkpoint_every = 200
    config.model.width = 128
    config.model.depth = 2
    config.model.heads = 4
    config.model.norm = 'layernorm'
    config.model.positions = 'none'
    config.model.pool = 'mean'
    config.model.pooler = ''
    config.model.dropout = 0.3
    config.data.encoding = 'latin-1'
    config.data.vocab = 6000
    config.sample.prompts = ('a warm , funny and engaging film .', 'a dull and pointless mess .')
    return config
