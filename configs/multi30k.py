"""The Transformer translates image captions, https://arxiv.org/abs/1706.03762, with pre-norm.

    python train.py --config=configs/multi30k.py --workdir=runs/multi30k --config.data.path=DIR
    python train.py --config=configs/multi30k.py:cpu --workdir=runs/multi30k --config.data.path=DIR
    python eval.py --workdir=runs/multi30k --split=test --beam=4

DIR holds Multi30k's task 1 (https://github.com/multi30k/dataset, `data/task1/raw`) as
`train.de.gz`, `train.en.gz`, `val.*` and `test_2016_flickr.*`: 29,000, 1,014 and 1,000 pairs,
German to English, lower-cased.

| size    | published, test 2016             | measured here, test 2016                     |
| ------- | -------------------------------- | -------------------------------------------- |
| default | 9.0 M parameters, BLEU 36.52     | not run yet                                  |
| cpu     | none                             | 1.2 M parameters, BLEU 35.26 (beam of 4)     |

The CPU size trains for 451 s on two cores, in float32; its loss on the test split is 2.049 nats a
token, perplexity 7.76. `python -m results.run translation` trains it for longer, `python -m
results.run heads` with other numbers of heads and other positions, see docs/papers.md.

The published numbers are bentrevett/pytorch-seq2seq's, tokenised by spaCy; ours are sacrebleu's on
lower-cased raw text, with its own tokenizer (13a), of a shared vocabulary of byte pairs. Norms come
before the branches, which trains without care for the warm-up; the paper's order is
`--config.model.residual=post`.
"""

from transformer.experiment import default_config

SIZES = {
    '': {'width': 256, 'depth': 3, 'heads': 8, 'hidden': 512, 'dropout': 0.1},
    'cpu': {'width': 128, 'depth': 2, 'heads': 4, 'hidden': 256, 'dropout': 0.0},
}
TRAINING = {'': {'steps': 6000, 'batch_size': 16}, 'cpu': {'steps': 1200, 'batch_size': 8}}
VOCAB = {'': 10_000, 'cpu': 4000}


def get_config(size: str = ''):
    if size not in SIZES:
        raise ValueError(f'unknown size {size!r}; known: {", ".join(filter(None, SIZES))}')
    config = default_config('encoder_decoder', 'seq2seq')
    config.update(TRAINING[size])
    config.model.update(SIZES[size])
    config.context = 256  # a row holds some 16 pairs
    config.target_context = 256
    config.learning_rate = 2e-3
    config.eval_every = 400
    config.checkpoint_every = 400
    config.optimizer.b2 = 0.98
    config.optimizer.warmup = 0.1
    config.model.mlp = 'relu'
    config.model.norm = 'layernorm'
    config.model.positions = 'sinusoidal'
    config.model.embed_scale = True
    config.model.bias = True
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.objective.source = 'de'
    config.objective.target = 'en'
    config.objective.lowercase = True
    config.objective.smoothing = 0.1
    config.data.train_split = 'train'
    config.data.validation_split = 'val'
    config.data.test_split = 'test_2016_flickr'
    config.data.vocab = VOCAB[size]
    config.sample.temperature = 0.0
    config.sample.prompts = ('ein hund läuft durch den schnee .', 'zwei männer spielen fußball .')
    return config
