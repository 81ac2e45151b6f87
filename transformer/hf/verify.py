"""A checkpoint compared with the original, layer by layer. Needs torch and transformers."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from transformer import model as models
from transformer.blocks import Block
from transformer.errors import UserError
from transformer.hf import inputs, pretrained
from transformer.hf.pretrained import Pretrained, forward
from transformer.models.fit import STACKS, fit

SEEN = 17  # tokens of the inputs


def report(flags: Any) -> int:
    """Prints the differences; the exit code is 1 where one is above `flags.tolerance`."""
    found = differences(flags.source, flags.architecture, flags.allow)
    worst = float(np.max(list(found.values())))  # not a number stays so
    if flags.json:
        print(json.dumps({'largest': worst, 'tolerance': flags.tolerance, 'differences': found}))
    else:
        table = Table('place', 'largest difference / largest number')
        for name, value in found.items():
            table.add_row(name, f'{value:.2e}')
        Console().print(table)
        verdict = 'equal' if worst <= flags.tolerance else 'DIFFERENT'
        print(f'{verdict}: {worst:.2e}, tolerance {flags.tolerance:.0e}')
    return int(not worst <= flags.tolerance)


def differences(source: Path, name: str = '', allow: tuple[str, ...] = ()) -> dict[str, float]:
    """Of each layer and each output, as a share of the original's largest number, in float32.

    Raises:
      UserError: torch or transformers is not installed, or the original does not open.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(
            f'verify compares with the original, which needs {error.name}: '
            'pip install torch transformers'
        ) from None
    mine = pretrained.load(source, dtype='float32', architecture=name, allow=allow)
    kind = getattr(transformers, mine.architecture.name)
    try:
        original = kind.from_pretrained(source, dtype=torch.float32).eval()
    except Exception as error:  # whatever it says of the directory
        raise UserError(f'the original does not open {source}: {error}') from None
    given = example(mine)
    known = set(inputs.NAMES[mine.architecture.shape])
    with torch.no_grad():
        tensors = {name: torch.tensor(x) for name, x in given.items() if name in known}
        theirs = original(**tensors, output_hidden_states=True)
    outputs, layers = _ours(mine, given)
    found = {}
    for stack, states in layers.items():
        key = 'hidden_states' if stack == 'stack' else f'{stack}_hidden_states'
        seen = getattr(theirs, key)
        # Most begin with the embedding, Mamba's with the first layer.
        begin = min((1, 0), key=lambda k: _difference(states[0], seen[k].numpy()))
        for i, x in enumerate(states[:-1]):  # the last of theirs has been through the final norm
            found[f'{stack} {i}'] = _difference(x, seen[i + begin].numpy())
    for name in ('encoder_last_hidden_state', 'last_hidden_state', 'pooler_output', 'logits'):
        if getattr(theirs, name, None) is not None and getattr(outputs, name) is not None:
            found[name] = _difference(getattr(outputs, name), getattr(theirs, name).numpy())
    for name in ('start_logits', 'end_logits'):
        if getattr(outputs, name) is not None:
            found[name] = _difference(getattr(outputs, name), getattr(theirs, name).numpy())
    return found


def example(mine: Pretrained) -> dict[str, np.ndarray]:
    """Random inputs, without padding."""
    rng, made = np.random.default_rng(0), mine.architecture
    if made.shape == 'vision':
        p = made.config.patches
        shape = (2, p.channels, p.image, p.image)
        return {'pixel_values': rng.standard_normal(shape).astype(np.float32)}
    values = made.values
    special = {values.get(f'{name}_token_id') for name in ('pad', 'bos', 'eos')}
    plain = np.setdiff1d(
        np.arange(made.config.tokens.vocab), [x for x in special if type(x) is int]
    )
    length = min(SEEN, made.longest())
    ids = rng.choice(plain, (2, length))
    if type(values.get('eos_token_id')) is int:  # some heads read its vector
        ids[:, -1] = values['eos_token_id']
    if made.shape == 'encoder_decoder':
        return {'input_ids': ids, 'decoder_input_ids': ids}
    return {'input_ids': ids}


def _ours(mine: Pretrained, given: dict[str, np.ndarray]) -> tuple[Any, dict[str, list]]:
    """The outputs, and what leaves each block by the name of its stack."""
    made = mine.architecture
    sizes = pretrained.sizes(made, 'float32')
    model = models.make(fit(made.config, sizes, 'reference'))
    batch = inputs.batch_of(made, given)
    watched = _Watched(model)

    def run(params):
        watched.seen.clear()
        return forward(watched, made.head.kind, made.shape, params, batch), dict(watched.seen)

    outputs, states = jax.jit(run)(mine.params)
    layers = {}
    for stack in STACKS:
        if stack not in states:
            continue
        body = next(
            iter(states[stack][name] for name in ('repeat', 'shared') if name in states[stack])
        )
        length = len(getattr(made.config, stack).pattern)
        depth = getattr(made.config, stack).layers
        layers[stack] = [
            body[f'block_{i % length}']['__call__'][0][0][i // length] for i in range(depth)
        ]
    return outputs, layers


class _Watched:
    """A model whose blocks' outputs are kept in `seen`."""

    def __init__(self, model: Any):
        self._model, self.seen = model, {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def apply(self, variables: Any, *args, **how) -> Any:
        blocks = lambda module, method: isinstance(module, Block) and method == '__call__'  # noqa: E731
        out, more = self._model.apply(
            variables, *args, capture_intermediates=blocks, mutable=['intermediates'], **how
        )
        self.seen.update(more.get('intermediates', {}))
        return out


def _difference(mine: Any, theirs: np.ndarray) -> float:
    return float(np.abs(np.asarray(mine, np.float32) - theirs).max() / np.abs(theirs).max())
