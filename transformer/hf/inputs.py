"""From the original's input names to a batch here. B rows, T tokens, C channels, I image side."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from transformer.errors import UserError
from transformer.hf.architecture import Architecture
from transformer.hf.settings import Settings
from transformer.positions import LearnedConfig

TEXT = ('input_ids', 'attention_mask', 'position_ids', 'token_type_ids')
DECODER = ('decoder_input_ids', 'decoder_attention_mask')
NAMES = {
    'decoder': TEXT,
    'encoder': TEXT,
    'encoder_decoder': (*TEXT[:2], *DECODER),
    'vision': ('pixel_values',),
}


def batch_of(architecture: Architecture, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What `forward` reads.

    Raises:
      UserError: an unknown or missing name, a wrong shape, a token or a place that there is not.
    """
    known = NAMES[architecture.shape]
    given = {name: _array(name, x) for name, x in inputs.items() if x is not None}
    for name in given:
        if name not in known:
            raise UserError(f'{name} is no input of {architecture.name}; accepted: {known}')
    if architecture.shape == 'vision':
        return {'images': _images(architecture, given)}
    batch = _row(architecture, given, '')
    if architecture.shape == 'decoder' and architecture.head.kind == 'class':
        batch['segment_ids'] = batch['segment_ids'] * _to_the_text(architecture, batch['inputs'])
    types = getattr(architecture.config, 'embed', None)
    if 'token_type_ids' in given:
        count = types.types if types is not None else 0
        if count or not architecture.family.passes_types:
            _check_range('token_type_ids', given['token_type_ids'], count)
        _check_shape('token_type_ids', given['token_type_ids'], batch['inputs'].shape)
        batch['types'] = given['token_type_ids'].astype(np.int32)
    if architecture.shape == 'encoder_decoder':
        batch |= _target(architecture, given)
    return batch


def _target(architecture: Architecture, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The decoder's row; where none is given, the source shifted right, for classes that do so."""
    source_BS, family, kind = given['input_ids'], architecture.family, architecture.head.kind
    if 'decoder_input_ids' not in given and kind in family.shifted:
        first_B = FIRST[family.shifted[kind]](source_BS, architecture)
        shifted_BS = np.concatenate([first_B[:, None], source_BS[:, :-1]], axis=1)
        given = dict(given) | {'decoder_input_ids': shifted_BS}
    row = _row(architecture, given, 'decoder_')
    rows, sources = len(row['inputs']), len(source_BS)
    if rows != sources:
        raise UserError(f'decoder_input_ids have {rows} rows; accepted: {sources}, as input_ids')
    if kind == 'class':
        row['segment_ids'] = row['segment_ids'] * _to_the_end(architecture, source_BS, row)
    return {f'decoder_{name}': x for name, x in row.items()}


def _to_the_text(architecture: Architecture, inputs_BT: np.ndarray) -> np.ndarray:
    """1 up to the last token that is no padding, which such a head reads; 0 behind it."""
    text_BT = inputs_BT != architecture.pad
    return text_BT[:, ::-1].cumsum(axis=1)[:, ::-1] > 0


def _to_the_end(architecture: Architecture, source_BS: np.ndarray, row) -> np.ndarray:
    """1 up to the place of the source's last end, which such a head reads; 0 behind it."""
    _check_shape('decoder_input_ids', row['inputs'], source_BS.shape)
    end = architecture.family.end(Settings(architecture.values))
    ends_BS = source_BS == end
    if not ends_BS.any(axis=1).all():
        raise UserError(f'input_ids hold a row without {end}; accepted: rows that end with it')
    return ends_BS[:, ::-1].cumsum(axis=1)[:, ::-1] > 0


def _start(source_BS: np.ndarray, architecture: Architecture) -> np.ndarray:
    return np.full(len(source_BS), architecture.start)


def _last(source_BS: np.ndarray, architecture: Architecture) -> np.ndarray:
    pad = architecture.pad
    if pad is None:
        raise UserError('config.json: pad_token_id is missing; give decoder_input_ids')
    places_B = np.maximum((source_BS != pad).sum(axis=1) - 1, 0)
    return np.take_along_axis(source_BS, places_B[:, None], axis=1)[:, 0]


# What a decoder reads before the source that is shifted right: the start, or the row's last token,
# which names the language.
FIRST = {'start': _start, 'last': _last}


def _row(architecture: Architecture, given, prefix: str) -> dict[str, np.ndarray]:
    name = f'{prefix}input_ids'
    if name not in given:
        raise UserError(f'{name} are missing; accepted: {NAMES[architecture.shape]}')
    ids_BT = given[name]
    if ids_BT.ndim != 2 or not np.issubdtype(ids_BT.dtype, np.integer) or not ids_BT.size:
        shape = 'x'.join(map(str, ids_BT.shape))
        raise UserError(f'{name} are {ids_BT.dtype} of shape {shape}; accepted: whole numbers, 2-D')
    _check_range(name, ids_BT, architecture.config.tokens.vocab)
    mask_BT = given.get(f'{prefix}attention_mask', np.ones(ids_BT.shape, np.int32))
    _check_shape(f'{prefix}attention_mask', mask_BT, ids_BT.shape)
    if not np.isin(mask_BT, (0, 1)).all():
        raise UserError(f'{prefix}attention_mask holds other numbers than 0 and 1')
    places_BT = np.broadcast_to(np.arange(ids_BT.shape[1], dtype=np.int32), ids_BT.shape)
    if architecture.family.places == 'real':
        pad = architecture.values.get('pad_token_id', architecture.position_offset - 1)
        real_BT = ids_BT != pad
        places_BT = np.where(real_BT, np.cumsum(real_BT, axis=1) - 1, -1).astype(np.int32)
    if architecture.family.places == 'seen':
        places_BT = np.where(mask_BT > 0, np.cumsum(mask_BT, axis=1) - 1, -1).astype(np.int32)
    if not prefix and 'position_ids' in given:
        places_BT = _places(architecture, given['position_ids'], ids_BT.shape)
    return {
        'inputs': ids_BT.astype(np.int32),
        'positions': places_BT,
        'segment_ids': mask_BT.astype(np.int32),
    }


def _places(architecture: Architecture, given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Places as the caller numbers them, in our numbers."""
    offset = architecture.position_offset if architecture.family.places == 'real' else 0
    if not np.issubdtype(given.dtype, np.integer):
        raise UserError(f'position_ids are {given.dtype}; accepted: whole numbers')
    if given.shape not in (shape, (1, shape[1]), shape[1:]):
        raise UserError(f'position_ids has shape {given.shape}; accepted: {shape}')
    table = getattr(architecture.config, 'embed', None) and architecture.config.embed.positions
    if isinstance(table, LearnedConfig):
        _check_range('position_ids', given, table.length + offset)
    return np.broadcast_to(given, shape).astype(np.int32) - np.int32(offset)


def _array(name: str, x: Any) -> np.ndarray:
    try:
        found = np.asarray(x)
    except ValueError:  # rows of different lengths
        raise UserError(f'{name} has rows of different lengths; accepted: an array') from None
    if found.dtype.kind not in 'biuf' and found.dtype.name != 'bfloat16':
        raise UserError(f'{name} is an array of {found.dtype}; accepted: numbers')
    return found


def _images(architecture: Architecture, given) -> np.ndarray:
    if 'pixel_values' not in given:
        raise UserError('pixel_values are missing')
    x, p = given['pixel_values'], architecture.config.patches
    shape = (p.channels, p.image, p.image)
    if x.ndim != 4 or x.shape[1:] != shape:
        raise UserError(f'pixel_values have shape {x.shape}; accepted: {("batch", *shape)}')
    return x.transpose(0, 2, 3, 1)


def _check_range(name: str, ids: np.ndarray, count: int) -> None:
    bad = ids[(ids < 0) | (ids >= count)]
    if bad.size:
        raise UserError(f'{name} hold {bad[0]}; accepted: 0 to {count - 1}')


def _check_shape(name: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    if x.shape != shape:
        raise UserError(f'{name} has shape {x.shape}; accepted: {shape}, that of the tokens')
