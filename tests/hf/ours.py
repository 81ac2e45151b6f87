"""Our side of a comparison: whole, cached, and saved again."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from tests.hf.cases import Case
from transformer import hf
from transformer.context import Context
from transformer.hf import inputs as hf_inputs


def difference(mine: Any, theirs: np.ndarray, mask: np.ndarray | None) -> float:
    """The greatest difference as a share of the largest number, where there is no padding."""
    mine = np.asarray(mine, np.float32)
    assert mine.shape == theirs.shape, (mine.shape, theirs.shape)
    if mask is not None:
        mine, theirs = mine[mask > 0], theirs[mask > 0]
    assert np.isfinite(theirs).all() and theirs.std() > 0
    return float(np.abs(mine - theirs).max() / np.abs(theirs).max())


def differences(
    pretrained: hf.Pretrained, given: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> dict[str, float]:
    """Of every output, of the whole pass."""
    out, found = pretrained(**given), {}
    for name, theirs in expected.items():
        found[name] = difference(getattr(out, name), theirs, _mask(name, theirs, given))
    return found


def _mask(name: str, x: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray | None:
    side = given.get('attention_mask')
    if 'decoder_attention_mask' in given and not name.startswith('encoder'):
        side = given['decoder_attention_mask']
    return side if side is not None and x.shape[:2] == side.shape else None


def cached(pretrained: hf.Pretrained, given: dict[str, np.ndarray]) -> np.ndarray | None:
    """The last hidden state, some tokens at once and the rest one by one; None without caches."""
    made, model = pretrained.architecture, pretrained.model
    if made.shape not in ('decoder', 'encoder_decoder'):
        return None
    batch = hf_inputs.batch_of(made, given)
    run = lambda *args, **how: model.apply({'params': pretrained.params}, *args, **how)  # noqa: E731
    memory, prefix, more = {}, '', ()
    if made.shape == 'encoder_decoder':
        source = Context.of(batch['inputs'], batch['positions'], batch['segment_ids'])
        encoded, _ = jax.jit(lambda: run(batch['inputs'], source, method='encode'))()
        memory = {'memory_BSD': encoded, 'memory_segments_BS': batch['segment_ids']}
        prefix, more = 'decoder_', (batch['inputs'].shape[1],)
    names = ('inputs', 'positions', 'segment_ids')
    tokens, places, segments = (jnp.asarray(batch[prefix + name]) for name in names)
    types = jnp.asarray(batch.get('types', np.zeros_like(tokens)))
    typed = 'types' in batch
    B, T = tokens.shape
    caches, first, found = model.init_cache(B, T, *more), T - 5, []

    @jax.jit
    def step(caches, tokens, places, segments, types, memory):
        ctx = Context.of(tokens, places, segments, **memory)
        x, caches, _ = run(tokens, ctx, caches, *((types,) if typed else ()), method='hidden')
        return x, caches

    for low, high in [(0, first), *((t, t + 1) for t in range(first, T))]:
        part = (x[:, low:high] for x in (tokens, places, segments, types))
        x, caches = step(caches, *part, memory if low == 0 else {})
        found.append(np.asarray(x))
    return np.concatenate(found, axis=1)


def saved_equals(pretrained: hf.Pretrained, original: Path, again: Path) -> None:
    """Saves, and compares every tensor bit for bit with those of the first directory."""
    hf.save(pretrained, again)
    theirs, mine = tensors(original), tensors(again)
    assert mine, 'nothing was saved'
    for name, x in mine.items():
        assert name in theirs, f'{name} is not in the original'
        assert x.dtype == theirs[name].dtype, name
        assert np.array_equal(x.view(np.uint8), theirs[name].view(np.uint8)), name
    config = json.loads((again / 'config.json').read_text())
    assert config['model_type'] == pretrained.config['model_type']


def tensors(directory: Path) -> dict[str, np.ndarray]:
    """All tensors of a directory."""
    found = {}
    for file in directory.glob('*.safetensors'):
        found |= safetensors.numpy.load_file(file)
    return {name: np.atleast_1d(x) for name, x in found.items()}


def check(case: Case, directory: Path, given, expected, again: Path) -> dict[str, float]:
    """Loads, compares the whole and the cached pass, saves again. Returns the differences."""
    pretrained = hf.load(directory, dtype='float32')
    found = differences(pretrained, given, expected)
    stepped = cached(pretrained, given) if case.cached else None
    if stepped is not None:
        theirs = expected['last_hidden_state']
        mask = _mask('last_hidden_state', theirs, given)
        found['cached'] = difference(stepped, theirs, mask)
    for name, value in found.items():
        assert value <= case.tolerance, f'{case.name}: {name} differs by {value:.2e} ({found})'
    saved_equals(hf.load(directory), directory, again)
    return found
