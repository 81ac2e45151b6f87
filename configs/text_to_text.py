"""Several tasks as text to text in one model, https://arxiv.org/abs/1910.10683.

    python train.py --config=configs/text_to_text.py --workdir=runs/tasks \\
        --config.data.mixture.polarity.path=FILE --config.data.mixture.spans.path=FILE \\
        --config.data.mixture.translation.path=DIR
    python eval.py --workdir=runs/tasks --checkpoint=latest
    python generate.py --workdir=runs/tasks --prompt="polarity: a dull and pointless mess ."

FILE is NLTK's `sentence_polarity.zip` (https://www.nltk.org/nltk_data), DIR holds Multi30k as in
`configs/multi30k.py`. One encoder-decoder learns, told by the prefix which task it is:

| task          | source text                                | target                     | rows |
| ------------- | ------------------------------------------ | -------------------------- | ---- |
| `polarity`    | polarity: a dull and pointless mess .      | neg                        | 2    |
| `translation` | translate German to English: ein hund ...  | a dog ...                  | 3    |
| `spans`       | a dull<extra_id_0> mess .                  | <extra_id_0> and pointless | 1    |

`configs/text_to_text.py:polarity` and `:translation` are one of them alone: for as many rows of it,
with the same vocabulary. Each source of a mixture can have an `objective` of its own, whose rows
are as long.

Published: of far larger models, pre-trained on a corpus. Measured: docs/papers.md.
"""

from transformer.data_config import source
from transformer.experiment import default_config

# Steps, and the rows of each task in so many.
TASKS = {
    '': (1800, {'polarity': 2.0, 'translation': 3.0, 'spans': 1.0}),
    'polarity': (600, {'polarity': 1.0}),
    'translation': (900, {'translation': 1.0}),
}
REVIEWS = {'path': 'sentence_polarity.zip', 'format': 'classes', 'encoding': 'latin-1'}
PAIRS = {'path': 'multi30k', 'validation_split': 'val', 'test_split': 'test_2016_flickr'}
SOURCES = {
    'polarity': REVIEWS | {'prefix': 'polarity: '},
    'translation': PAIRS | {'prefix': 'translate German to English: '},
    'spans': REVIEWS | {'objective': 'span_corruption'},
}


def get_config(task: str = ''):
    if task not in TASKS:
        raise ValueError(f'unknown task {task!r}; known: {", ".join(filter(None, TASKS))}')
    config = default_config('encoder_decoder', 'seq2seq')
    config.steps, weights = TASKS[task]
    config.data.mixture = {
        name: source(**fields, weight=weights.get(name, 0.0)) for name, fields in SOURCES.items()
    }
    config.batch_size = 8
    config.context = 256
    config.target_context = 192
    config.learning_rate = 2e-3
    config.log_every = 50
    config.eval_every = 300
    config.checkpoint_every = 300
    config.optimizer.b2 = 0.98
    config.optimizer.warmup = 0.1
    config.model.width = 128
    config.model.depth = 2
    config.model.heads = 4
    config.model.hidden = 256
    config.model.dropout = 0.1
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.objective.source = 'de'
    config.objective.target = 'en'
    config.objective.lowercase = True
    config.data.vocab = 4000
    config.sample.temperature = 0.0
    config.sample.tokens = 40
    config.sample.prompts = (
        'polarity: a warm , funny and engaging film .',
        'translate german to english: ein hund läuft durch den schnee .',
    )
    return config
