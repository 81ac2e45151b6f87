"""What pre-training on text without classes is worth, https://arxiv.org/abs/1810.04805.

    python train.py --config=configs/pretraining.py --workdir=runs/masked --config.data.path=FILE
    python train.py --config=configs/pretraining.py:classes --workdir=runs/tuned \\
        --config.data.path=FILE --config.init=runs/masked
    python -m results.run pretraining --config.data.path=FILE      # all of it, three times

FILE is NLTK's `sentence_polarity.zip` (https://www.nltk.org/nltk_data): 10,662 sentences of film
reviews, for or against. The training split's sentences are learnt from without their classes, by
filling gaps (BERT) or token by token (GPT-1, https://openai.com/index/language-unsupervised); then
a classifier starts from that model, or (without `config.init`) from random numbers. The sentences
that it is tested on are in neither.

| stage             | model                   | what it learns                                |
| ----------------- | ----------------------- | --------------------------------------------- |
| (default)         | encoder                 | masked tokens                                 |
| `next_token`      | decoder, the same sizes | next tokens                                   |
| `classes`         | encoder                 | classes, from the mean over the sentence      |
| `classes_decoder` | decoder                 | the same: only what each token sees differs   |

Published: BERT, table 5: of two models of the base size that are pre-trained alike, the one on
masked tokens alone gets 92.6% of SST-2 right (sentences of the same reviews, taught phrase by
phrase), the one on next tokens 92.1%. GPT-1, table 5: 91.3%, and 84.0% without pre-training.
Measured: docs/papers.md.

Pre-training makes the vectors of tokens five times as long as they start (0.10 against 0.02): at a
rate of 5e-4 classes hardly move them (69% after 300 steps, with 800 of masked tokens), at 2e-3 they
do (76.5%). From scratch 5e-4 gives 75.4%, 2e-3 76.7%. These were trials of one random start each,
with half the hidden units, on two CPU cores.
"""

from transformer.experiment import default_config

STAGES = {
    '': ('encoder', 'masked'),
    'next_token': ('decoder', 'next_token'),
    'classes': ('encoder', 'classification'),
    'classes_decoder': ('decoder', 'classification'),
}
TEXT = {'steps': 3000, 'batch_size': 32, 'learning_rate': 2e-3, 'eval_every': 500}
CLASSES = {'steps': 450, 'batch_size': 64, 'learning_rate': 2e-3, 'eval_every': 50}


def get_config(stage: str = ''):
    if stage not in STAGES:
        raise ValueError(f'unknown stage {stage!r}; known: {", ".join(filter(None, STAGES))}')
    family, objective = STAGES[stage]
    config = default_config(family, objective)
    config.update(CLASSES if objective == 'classification' else TEXT)
    config.context = 64
    config.log_every = 50
    config.checkpoint_every = 500
    config.model.width = 64
    config.model.depth = 2
    config.model.heads = 2
    config.model.norm = 'layernorm'
    config.model.pool = 'mean'
    config.model.dropout = 0.3 if objective == 'classification' else 0.1
    if family == 'encoder':
        config.model.pooler = ''
    else:
        config.model.embed_norm = True  # as in the encoder
    config.data.format = 'classes'
    config.data.encoding = 'latin-1'
    config.data.tokenizer = 'wordpiece'
    config.data.vocab = 4000
    return config
