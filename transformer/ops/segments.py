"""Where documents begin in a row. B batch, T length."""

import jax
import jax.numpy as jnp


def starts(segments_BT: jax.Array, before_B: jax.Array) -> jax.Array:
    """bool [B, T]: True where a token's segment is another than that of the token before it.

    Args:
      segments_BT: int32 ids; padding (0) is a segment like any other.
      before_B: int32, segment of the last token of the call before.
    """
    before_BT = jnp.concatenate([before_B[:, None], segments_BT[:, :-1]], axis=1)
    return segments_BT != before_BT
