"""Models small enough for every test, and batches for them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from transformer import model as models
from transformer.experiment import Experiment, default_config
from transformer.model import EncoderDecoder, Transformer, Vision
from transformer.models import DecoderOptions, EncoderDecoderOptions, EncoderOptions, VisionOptions
from transformer.models.assemble import Sizes
from transformer.paths import names

VOCAB, CONTEXT, CLASSES = 40, 16, 3
OPTIONS = DecoderOptions(width=32, depth=3, heads=4, kv_heads=2, mlp='swiglu', hidden=96)

_DECODER = DecoderOptions(width=16, depth=2, heads=2, hidden=24)
_ENCODER = EncoderOptions(
    width=16, depth=2, heads=2, hidden=24, norm='layernorm', positions='learned', bias=True
)
_BOTH = EncoderDecoderOptions(width=16, depth=2, heads=2, hidden=24)
_change = dataclasses.replace

# One of every kind there is: (options, head).
FAMILIES = {
    'gpt': (_change(_DECODER, norm='layernorm', positions='learned', bias=True), 'tokens'),
    'gpt1': (_change(_DECODER, norm='layernorm', positions='none', residual='post'), 'tokens'),
    'llama': (_change(_DECODER, mlp='swiglu', heads=4, kv_heads=2, tied=False), 'tokens'),
    'gemma': (
        _change(
            _DECODER,
            mixers=('attention', 'global'),
            window=3,
            residual='sandwich',
            attention_softcap=5.0,
            softcap=3.0,
            qk_norm=True,
            embed_scale=True,
        ),
        'tokens',
    ),
    'parallel': (_change(_DECODER, residual='parallel', positions='alibi'), 'tokens'),
    'mixtral': (_change(_DECODER, mlp='swiglu', experts=4, top_k=2), 'tokens'),
    'mamba': (_change(_DECODER, mixers=('mamba', 'attention'), positions='none'), 'tokens'),
    'retnet': (
        _change(_DECODER, mixers=('retnet', 'linear'), mlp='swiglu', positions='none'),
        'tokens',
    ),
    'bert': (_change(_ENCODER, residual='post', types=2), 'masked'),
    'albert': (_change(_ENCODER, residual='post', shared=True, token_width=8), 'token_class'),
    'classifier': (_change(_ENCODER, positions='rope', pool='mean', drop_path=0.5), 'class'),
    'transformer': (
        _change(_BOTH, positions='sinusoidal', residual='post', norm='layernorm', bias=True),
        'tokens',
    ),
    't5': (_change(_BOTH, attention_scale=1.0, head_scale=True, decoder_depth=1), 'tokens'),
    'bart': (_change(_BOTH, positions='learned', position_offset=2, embed_norm=True), 'tokens'),
    'switch': (_change(_BOTH, experts=4, expert_every=2, tied=False), 'tokens'),
    'vit': (VisionOptions(width=16, depth=2, heads=2, hidden=24, image=8, patch=4), 'class'),
    'vit_grid': (
        VisionOptions(
            width=16,
            depth=2,
            heads=2,
            hidden=24,
            image=8,
            patch=4,
            channels=1,
            positions='grid',
            extra=0,
            pool='mean',
        ),
        'class',
    ),
}
TEXT = [name for name, (options, _) in FAMILIES.items() if options.family != 'vision']
WRITERS = [name for name in TEXT if FAMILIES[name][0].family in ('decoder', 'encoder_decoder')]


def member(name: str, **sizes):
    """The model of that family."""
    options, head = FAMILIES[name]
    changed = {k: sizes.pop(k) for k in list(sizes) if hasattr(options, k)}
    fields = {'vocab': VOCAB, 'context': CONTEXT, 'head': head, 'classes': CLASSES} | sizes
    return models.make(_change(options, **changed).build(Sizes(**fields)))


def model(*, remat='none', unroll=1, dtype='float32', **options) -> Transformer:
    """A decoder of `OPTIONS` with some of them changed."""
    sizes = Sizes(VOCAB, CONTEXT, dtype=dtype, remat=remat, unroll=unroll)
    return models.make(dataclasses.replace(OPTIONS, **options).build(sizes))


def experiment(**fields) -> Experiment:
    options = fields.pop('model', {})
    config = default_config()
    config.model.update(dataclasses.asdict(OPTIONS))
    config.model.update(options)
    config.update({'context': CONTEXT, 'batch_size': 8, 'steps': 100, 'unroll': 1})
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


def batch_for(model, A=1, B=8, seed=0) -> dict[str, np.ndarray]:
    """A batch that the model's `forward` reads, with targets for its head."""
    rng = np.random.default_rng(seed)
    head = model.config.head
    classes = getattr(head, 'classes', VOCAB)
    whole = {
        'targets': rng.integers(0, classes, (A, B), dtype=np.int32),
        'weights': np.ones((A, B), np.float32),
    }
    if isinstance(model, Vision):
        p = model.config.patches
        shape = (A, B, p.image, p.image, p.channels)
        return {'images': rng.standard_normal(shape, np.float32), **whole}
    rows = batch(A, B, seed=seed)
    if isinstance(model, EncoderDecoder):
        source = batch(A, B, seed=seed)  # the same segments on both sides
        return {
            'inputs': rng.permuted(source['inputs'], axis=-1),
            'positions': source['positions'],
            'segment_ids': source['segment_ids'],
            'decoder_inputs': rows['inputs'],
            'decoder_positions': rows['positions'],
            'decoder_segment_ids': rows['segment_ids'],
            'targets': rows['targets'],
            'weights': rows['weights'],
        }
    if type(head).__name__ == 'ClassHeadConfig':
        rows['segment_ids'] = np.ones_like(rows['segment_ids'])
        rows['positions'] = np.broadcast_to(np.arange(CONTEXT, dtype=np.int32), (A, B, CONTEXT))
        return rows | whole
    return rows | {'targets': rows['targets'] % classes}


def one(batch):
    """The first microbatch."""
    return {name: jnp.asarray(x[0]) for name, x in batch.items()}


def init(model):
    """Fresh parameters, compiled as one program."""
    first = jax.jit(lambda key: model.init(key, model.example(), method='forward')['params'])
    return first(jax.random.key(0))


@jax.jit
def noisy(params):
    """Parameters with all scales and biases away from one and zero."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten(
        [x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves)]
    )


@functools.lru_cache
def made(name: str, **sizes):
    """A family's model, and parameters all away from zero and one; nothing is compiled for them."""
    built = member(name, **sizes)
    return built, filled(built)


@functools.lru_cache
def shapes(model):
    """Shapes and types of a model's parameters."""
    return jax.eval_shape(
        lambda: model.init(jax.random.key(0), model.example(), method='forward')['params']
    )


def filled(model):
    """Parameters all away from zero and one; nothing is compiled for them."""
    abstract = shapes(model)
    rng = np.random.default_rng(1)

    def fill(path, x):
        spread = 0.1 if x.ndim < 2 else 0.25
        middle = 1.0 if path.endswith('/scale') else 0.0
        return jnp.asarray(middle + spread * rng.standard_normal(x.shape, x.dtype))

    leaves, tree = jax.tree.flatten(abstract)
    return tree.unflatten(map(fill, names(abstract), leaves))


def drawn(model, spread=0.25, seed=1):
    """Parameters all of one normal distribution; nothing is compiled for them."""
    rng = np.random.default_rng(seed)
    draw = lambda x: jnp.asarray(spread * rng.standard_normal(x.shape, x.dtype))  # noqa: E731
    return jax.tree.map(draw, shapes(model))
