"""Decoders of LLaMA's sizes, https://arxiv.org/abs/2302.13971, from scratch on a slice of TPUs.

    python preflight.py --config=configs/llama.py:7b --topology=v5e:16x16
    python preflight.py --config=configs/llama.py:70b --topology=v5p:8x16x16
    python train.py --config=configs/llama.py:1b --workdir=runs/llama --config.data.path=TEXTS

Parameters, optimizer state and rows are split over all devices (`config.mesh.fsdp`); one row a chip
of the slice named above. TEXTS are files of text, see docs/data.md; the tokenizer is trained on
them.

| size         | that of                                     | parameters     | context |
| ------------ | ------------------------------------------- | -------------- | ------- |
| 1b (default) | LLaMA 3.2, https://arxiv.org/abs/2407.21783 | 1,038,682,112  | 4,096   |
| 7b           | LLaMA, https://arxiv.org/abs/2302.13971     | 6,738,415,616  | 4,096   |
| 70b          | LLaMA 2, https://arxiv.org/abs/2307.09288   | 68,976,648,192 | 4,096   |

All have LLaMA's 32,000 tokens. Published: the papers' losses are on other data. Measured: nothing
yet; what fits is in docs/preflight.md.
"""

from transformer.experiment import default_config

ONE = {'width': 2048, 'depth': 16, 'heads': 32, 'kv_heads': 8, 'hidden': 8192, 'tied': True}
SIZES = {
    '': ONE,
    '1b': ONE,
    '7b': {'width': 4096, 'depth': 32, 'heads': 32, 'hidden': 11_008},
    '70b': {'width': 8192, 'depth': 80, 'heads': 64, 'kv_heads': 8, 'hidden': 28_672},
}
ROWS = {'': 8, '1b': 8, '7b': 256, '70b': 2048}


def get_config(size: str = ''):
    if size not in SIZES:
        raise ValueError(f'unknown size {size!r}; known: {", ".join(filter(None, SIZES))}')
    config = default_config()
    config.steps = 100_000
    config.batch_size = ROWS[size]
    config.context = 4096
    config.learning_rate = 3e-4
    config.remat = 'full'
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.optimizer.warmup = 0.02
    config.optimizer.final = 0.1
    config.model.mlp = 'swiglu'
    config.model.norm = 'rmsnorm'
    config.model.norm_eps = 1e-5
    config.model.tied = False
    config.model.update(SIZES[size])
    config.data.path = 'texts'  # to be given
    config.data.vocab = 32_000
    config.sample.prompts = ('The',)
    return config
