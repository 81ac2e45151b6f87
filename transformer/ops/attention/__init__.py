"""Scaled dot-product attention, https://arxiv.org/abs/1706.03762, behind one function.

B batch, T query length, S key length, N heads, K key/value heads, G = N / K heads per key/value
head, H head width. One file for each way to compute it; none stands in for another.
"""

import functools
import logging

import jax

from transformer.ops import partition
from transformer.ops.attention.blocked import blocked
from transformer.ops.attention.jax_nn import cudnn, xla
from transformer.ops.attention.reference import reference, weights
from transformer.ops.attention.ring import ring
from transformer.ops.attention.splash import splash
from transformer.ops.biases import Alibi, RelativeBuckets
from transformer.ops.disentangled import Disentangled
from transformer.ops.dropout import Drop
from transformer.ops.masks import Mask, starts_at_zero

__all__ = ['BACKENDS', 'LACKS', 'attend', 'choose', 'weights']

BACKENDS = {
    'reference': reference,
    'blocked': blocked,
    'xla': xla,
    'cudnn': cudnn,
    'splash': splash,
    'ring': ring,
}

# What a call may ask for besides causality, windows, segments and grouped heads, which all have.
OPTIONS = {
    'dropout': 'dropout on weights',
    'bias': 'bias on scores',
    'distances': 'scores of distances and content',
    'softcap': 'softcap on scores',
    'prefix': 'prefix in its masks',
    'decode': 'query offset, which decoding with a cache needs',
}
LACKS = {
    'reference': (),
    'blocked': ('distances',),
    'xla': ('dropout', 'softcap'),
    'cudnn': ('dropout', 'softcap'),
    'splash': ('dropout', 'bias', 'distances', 'prefix', 'decode'),
    'ring': ('dropout', 'distances', 'decode'),
}

SPLIT = ('splash', 'ring')  # see to it themselves where devices split sequences


def attend(
    q_BNTH: jax.Array,
    k_BKSH: jax.Array,
    v_BKSH: jax.Array,
    mask: Mask,
    *,
    scale: float,
    backend: str = 'reference',
    drop: Drop | None = None,
    bias: Alibi | RelativeBuckets | Disentangled | None = None,
    softcap: float | None = None,
) -> jax.Array:
    """softmax(cap(scale * q k^T) + bias) v over the pairs that `mask` allows; [B, N, T, H].

    A query that may see nothing gets zeros.

    Args:
      scale: factor on the scores, usually 1 / sqrt(H).
      backend: a key of `BACKENDS`. None falls back to another.
      drop: dropout for the weights [B, K, G, T, S], or None.
      bias: what is added to the scores, `ops.biases` or `ops.disentangled`, or None.
      softcap: cap(x) = softcap * tanh(x / softcap), https://arxiv.org/abs/2408.00118, or None for
        cap(x) = x.

    Raises:
      ValueError: an unknown backend, or one that lacks what is asked.
    """
    if backend not in BACKENDS:
        raise ValueError(f'attention backend {backend!r} is unknown; known: {sorted(BACKENDS)}')
    asked = {
        'dropout': drop is not None,
        'bias': bias is not None and not isinstance(bias, Disentangled),
        'distances': isinstance(bias, Disentangled),
        'softcap': softcap is not None,
        'prefix': mask.prefix_BS is not None,
        'decode': not starts_at_zero(mask),
    }
    for option in LACKS[backend]:
        if asked[option]:
            have = ' or '.join(repr(b) for b in BACKENDS if option not in LACKS[b])
            raise ValueError(f'attention backend {backend!r} has no {OPTIONS[option]}; use {have}')
    split = partition.dividing((partition.CONTEXT,), q_BNTH.shape[2])
    if split and backend not in SPLIT:  # XLA might gather the queries instead of the keys
        q_BNTH = partition.held(q_BNTH, 2, split=True)
        k_BKSH, v_BKSH = (partition.held(x, 2, split=False) for x in (k_BKSH, v_BKSH))
    return BACKENDS[backend](
        q_BNTH, k_BKSH, v_BKSH, mask, scale=scale, drop=drop, bias=bias, softcap=softcap
    )


@functools.cache
def choose(
    platform: str,
    *,
    dtype: str,
    head_width: int,
    dropout: bool = False,
    bias: bool = False,
    distances: bool = False,
    softcap: bool = False,
    prefix: bool = False,
    decode: bool = False,
    context: bool = False,
) -> str:
    """The backend for a model, where it is built: a key of `BACKENDS`. Logged once, with why.

    Args:
      platform: 'cpu', 'gpu' or 'tpu', as `jax.default_backend()` says.
      dtype: of queries, keys and values.
      head_width: H.
      dropout: whether weights are dropped; the others are named as in `OPTIONS`.
      context: whether devices split the sequence. Then a backend that leaves it split goes first;
        the others gather keys and values.
    """
    asked = {
        'dropout': dropout,
        'bias': bias,
        'distances': distances,
        'softcap': softcap,
        'prefix': prefix,
        'decode': decode,
    }
    wanted, reasons = ['blocked', 'reference'], [f'platform {platform}, {dtype}']
    if context:
        reasons.append('devices split the sequence')
    if platform == 'tpu':
        wanted = ['splash', *['ring'] * context, 'xla', 'reference']
    elif context:
        wanted = ['ring', *['xla'] * (platform == 'gpu'), 'reference']
    elif platform == 'gpu' and dtype in ('bfloat16', 'float16') and head_width % 8 == 0:
        wanted = ['cudnn', 'xla', 'reference']
    elif platform == 'gpu':
        wanted = ['xla', 'reference']
        reasons.append(f'cudnn does not take {dtype} with head width {head_width}')
    for backend in wanted:
        missing = [OPTIONS[option] for option in LACKS[backend] if asked[option]]
        if not missing:
            break
        reasons.append(f'{backend} has no {", no ".join(missing)}')
    logging.getLogger('transformer').info('attention backend %r: %s', backend, '; '.join(reasons))
    return backend
