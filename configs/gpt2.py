"""GPT-2 from scratch, https://openai.com/index/better-language-models, on one chip or many.

    python preflight.py --config=configs/gpt2.py --topology=v5e:1x1
    python train.py --config=configs/gpt2.py --workdir=runs/gpt2 --config.data.path=TEXTS

TEXTS are files of text, see docs/data.md. The tokenizer, as large as GPT-2's, is trained on them;
`--config.data.tokenizer=tiktoken:gpt2 --config.data.vocab=0` is GPT-2's own.

| size         | parameters    | width x layers | learning rate |
| ------------ | ------------- | -------------- | ------------- |
| 124m         | 124,439,808   | 768 x 12       | 6e-4          |
| medium       | 354,823,168   | 1,024 x 24     | 3e-4          |
| large        | 774,030,080   | 1,280 x 36     | 2.5e-4        |
| xl           | 1,557,611,200 | 1,600 x 48     | 2e-4          |

The context is 1,024. Rates, the decay to a tenth and no dropout are those of GPT-3,
https://arxiv.org/abs/2005.14165; for its batches of half a million tokens
`--config.batch_size=480 --config.accumulation=15`. Parameters and optimizer state are split over
all chips. Published: GPT-2's losses are on other data. Measured: nothing yet.
"""

from transformer.experiment import default_config

SMALL = {'width': 768, 'depth': 12, 'heads': 12}
SIZES = {
    '': SMALL,
    '124m': SMALL,
    'medium': {'width': 1024, 'depth': 24, 'heads': 16},
    'large': {'width': 1280, 'depth': 36, 'heads': 20},
    'xl': {'width': 1600, 'depth': 48, 'heads': 25},
}
RATES = {'': 6e-4, '124m': 6e-4, 'medium': 3e-4, 'large': 2.5e-4, 'xl': 2e-4}
REMAT = {'': 'dots', '124m': 'dots', 'medium': 'full', 'large': 'full', 'xl': 'full'}


def get_config(size: str = ''):
    if size not in SIZES:
        raise ValueError(f'unknown size {size!r}; known: {", ".join(filter(None, SIZES))}')
    config = default_config()
    config.steps = 100_000
    config.batch_size = 32
    config.context = 1024
    config.learning_rate = RATES[size]
    config.remat = REMAT[size]
    config.eval_every = 1000
    config.checkpoint_every = 1000
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.optimizer.warmup = 0.02
    config.model.mlp = 'gelu_tanh'
    config.model.norm = 'layernorm'
    config.model.norm_eps = 1e-5
    config.model.positions = 'learned'
    config.model.bias = True
    config.model.update(SIZES[size])
    config.data.path = 'texts'  # to be given
    config.data.vocab = 50_257
    config.sample.prompts = ('The',)
    return config
