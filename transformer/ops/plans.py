"""Where the work of each choice is done. N tokens, K choices of each, E experts, S rows of work.

Tokens are copied into S rows that lie expert by expert, worked on there, and read back. Nothing of
size N * E * D is ever made.
"""

import flax.struct
import jax
import jax.numpy as jnp

from transformer.ops import routing


@jax.custom_vjp
def move(x_AD: jax.Array, at_B: jax.Array, back: jax.Array) -> jax.Array:
    """y_BD: the rows of x that `at_B` names, zeros where it names none (A or more).

    Args:
      back: [A], the place of each row of x in y, or [R, A], its places; B for none. By these the
        gradient is read as rows too: adding rows up where they came from is slow on accelerators.
    """
    return jnp.take(x_AD, at_B, axis=0, mode='fill', fill_value=0)


def _move_back(back, ct_BD):
    ct_AD = jnp.take(ct_BD, back, axis=0, mode='fill', fill_value=0)
    return ct_AD.sum(0) if back.ndim == 2 else ct_AD, None, None


move.defvjp(lambda x_AD, at_B, back: (move(x_AD, at_B, back), back), _move_back)


@flax.struct.dataclass
class Plan:
    """Rows of work in order of their experts, and whose they are.

    Attributes:
      choices_S: int32, the choice k * N + n in each row; K * N for a row without one.
      rows_KN: int32, the row of each choice; S for a choice without one.
      sizes_E: int32, rows of each expert; None where all have S / E, with and without tokens.
    """

    choices_S: jax.Array
    rows_KN: jax.Array
    sizes_E: jax.Array | None = None

    def gather(self, x_ND: jax.Array) -> jax.Array:
        """x_SD: the token in each row, zeros in a row without one."""
        K, N = self.rows_KN.shape
        tokens_S = jnp.where(self.choices_S < K * N, self.choices_S % N, N)
        return move(x_ND, tokens_S, self.rows_KN)

    def combine(self, y_SD: jax.Array, weights_KN: jax.Array) -> jax.Array:
        """y_ND, float32: the weighted sum over a token's choices; one without a row is zero."""
        y_MD = move(y_SD, self.rows_KN.reshape(-1), self.choices_S)
        y_KND = y_MD.reshape(*weights_KN.shape, -1).astype(jnp.float32)
        return jnp.einsum('knd,kn->nd', y_KND, weights_KN)


def packed(
    experts_KN: jax.Array, served_KN: jax.Array, E: int, peers: int = 1, room: int = 0
) -> Plan:
    """One row after another for each choice that is served.

    Experts are dealt to peers, E / peers each, in order. Rows of each peer begin at a multiple of
    `room`; what is left of it is empty.

    Args:
      room: rows for each peer, S = peers * room, enough for all that may come; 0 means K * N.
    """
    K, N = experts_KN.shape
    room = room or K * N
    order_M, place_M, sorted_M = routing.sort(experts_KN, served_KN, E)
    sizes_E = routing.sizes(sorted_M, E)
    sizes_P = sizes_E.reshape(peers, -1).sum(1)
    first_P = jnp.cumsum(sizes_P) - sizes_P
    at_PR = first_P[:, None] + jnp.arange(room)[None]
    used_PR = jnp.arange(room)[None] < sizes_P[:, None]
    choices_PR = jnp.where(used_PR, jnp.take(order_M, at_PR, mode='clip'), K * N)
    peer_KN = jnp.minimum(experts_KN // (E // peers), peers - 1)
    rows_KN = peer_KN * room + place_M.reshape(K, N) - first_P[peer_KN]
    return Plan(choices_PR.reshape(-1), jnp.where(served_KN, rows_KN, peers * room), sizes_E)


def even(
    experts_KN: jax.Array,
    rank_KN: jax.Array,
    served_KN: jax.Array,
    E: int,
    C: int,
    groups: int = 1,
) -> Plan:
    """C rows for each expert and group of the batch, S = E * groups * C, expert by expert.

    Args:
      rank_KN: place of each choice among those of its expert and group (`routing.rank`).
      served_KN: which choices get a row; those of rank C and above never do.
    """
    K, N = experts_KN.shape
    group_N = jnp.arange(N, dtype=jnp.int32) // (N // groups)
    rows_KN = (experts_KN * groups + group_N[None]) * C + rank_KN
    rows_KN = jnp.where(served_KN & (rank_KN < C), rows_KN, E * groups * C)
    choices_S = jnp.full(E * groups * C, K * N, jnp.int32)
    numbers_M = jnp.arange(K * N, dtype=jnp.int32)
    return Plan(choices_S.at[rows_KN.reshape(-1)].set(numbers_M, mode='drop'), rows_KN)
