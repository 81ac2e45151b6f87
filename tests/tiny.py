"""A model small enough for every test, and batches for it."""

import dataclasses

import jax
import numpy as np

from transformer.context import Context
from transformer.experiment import Experiment, default_config
from transformer.model import Decoder
from transformer.models.decoder import DecoderOptions

VOCAB, CONTEXT = 40, 16
OPTIONS = DecoderOptions(width=32, depth=3, heads=4, kv_heads=2, mlp='swiglu', hidden=96)


def model(*, remat='none', unroll=1, dtype='float32', **options) -> Decoder:
    chosen = dataclasses.replace(OPTIONS, **options)
    return Decoder(chosen.build(VOCAB, CONTEXT, dtype=dtype, remat=remat, unroll=unroll))


def experiment(**fields) -> Experiment:
    options = fields.pop('model', {})
    config = default_config()
    config.model.update(dataclasses.asdict(OPTIONS))
    config.model.update(options)
    config.update({'context': CONTEXT, 'batch_size': 8, 'steps': 100})
    for name, value in fields.items():
        *groups, last = name.split('__')
        node = config
        for group in groups:
            node = node[group]
        node[last] = value
    return Experiment.from_config(config)


def batch(A=1, B=8, T=CONTEXT, seed=0) -> dict[str, np.ndarray]:
    """Packed rows of random tokens, two or three documents each."""
    rng = np.random.default_rng(seed)
    segments = 1 + np.cumsum(rng.random((A, B, T)) < 0.15, axis=-1)
    new = np.diff(segments, axis=-1, prepend=0) > 0
    at = np.broadcast_to(np.arange(T), segments.shape)
    positions = at - np.maximum.accumulate(np.where(new, at, 0), axis=-1)
    return {
        'inputs': rng.integers(0, VOCAB, (A, B, T), dtype=np.int32),
        'targets': rng.integers(0, VOCAB, (A, B, T), dtype=np.int32),
        'weights': (rng.random((A, B, T)) < 0.9).astype(np.float32),
        'positions': positions.astype(np.int32),
        'segment_ids': segments.astype(np.int32),
    }


def init(model):
    """Fresh parameters, compiled as one program."""
    inputs = np.zeros((1, 8), np.int32)
    first = jax.jit(lambda key: model.init(key, inputs, Context.of(inputs))['params'])
    return first(jax.random.key(0))


@jax.jit
def noisy(params):
    """Parameters with all scales and biases away from one and zero."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten(
        [x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves)]
    )
