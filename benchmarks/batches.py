"""Random batches, the same for both sides: NumPy alone, so that a peer needs nothing of ours.

B rows, T tokens, S tokens of a source, I pixels along a side, C channels.
"""

from typing import Any

import numpy as np

MASKED = 0.15  # share of the tokens that a masked language model predicts


def make(spec: dict[str, Any], count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """So many batches.

    Args:
      spec: `kind` ('next_token', 'masked', 'encoder_decoder' or 'images'), `batch`, and `context`,
        `target`, `vocab`, `image`, `channels`, `classes` where the kind has them.

    Returns:
      Dicts of `inputs` int32 _BT (or _BS), `decoder_inputs` _BT, `images` float32 _BIIC, `targets`
      and the `weights` of these: 1 where a target counts.
    """
    rng = np.random.default_rng(seed)
    return [KINDS[spec['kind']](spec, rng) for _ in range(count)]


def _tokens(spec: dict, rng: np.random.Generator, length: str = 'context') -> np.ndarray:
    return rng.integers(0, spec['vocab'], (spec['batch'], spec[length]), dtype=np.int32)


def _next_token(spec: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    inputs_BT, targets_BT = _tokens(spec, rng), _tokens(spec, rng)
    targets_BT[:, :-1] = inputs_BT[:, 1:]
    weights_BT = np.ones(targets_BT.shape, np.float32)
    return {'inputs': inputs_BT, 'targets': targets_BT, 'weights': weights_BT}


def _masked(spec: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    inputs_BT, targets_BT = _tokens(spec, rng), _tokens(spec, rng)
    hidden_BT = rng.random(inputs_BT.shape) < MASKED
    targets_BT = np.where(hidden_BT, targets_BT, inputs_BT)
    return {'inputs': inputs_BT, 'targets': targets_BT, 'weights': hidden_BT.astype(np.float32)}


def _encoder_decoder(spec: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    whole = _next_token(spec | {'context': spec['target']}, rng)
    whole['decoder_inputs'] = whole.pop('inputs')
    return whole | {'inputs': _tokens(spec, rng)}


def _images(spec: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    B, side = spec['batch'], spec['image']
    images_BIIC = rng.standard_normal((B, side, side, spec['channels']), np.float32)
    targets_B = rng.integers(0, spec['classes'], B, dtype=np.int32)
    return {'images': images_BIIC, 'targets': targets_B, 'weights': np.ones(B, np.float32)}


KINDS = {
    'next_token': _next_token,
    'masked': _masked,
    'encoder_decoder': _encoder_decoder,
    'images': _images,
}
