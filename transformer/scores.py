"""What changes the scores of the next token before one is chosen: bans, penalties, forced tokens.

R rows, V vocabulary, P slots of the prompt, S of the source, M of new tokens, n length of an
n-gram. Slots that hold no token have -1: padding, and what is not made yet.
"""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from transformer.errors import UserError

Ends = int | tuple[int, ...] | None
# From scores_RV, tokens_RM and the number of tokens made so far to new scores_RV.
Adjust = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Constraints:
    """What a text must, must not or should rather not hold. The fields are applied in this order.

    Attributes:
      biases: (tokens, number): the number is added to the score of the last of the tokens where
        the others have just been written; -infinity bans.
      source_penalty: as `repetition_penalty`, of the tokens of the source; below 1 they gain.
      repetition_penalty: scores of tokens that the text holds, the prompt included, are divided by
        it where they are positive and multiplied where they are negative, arxiv.org/abs/1909.05858.
      no_repeat: n; no n-gram comes twice, https://arxiv.org/abs/1705.04304; 0 means all may.
      no_repeat_source: n; no n-gram of the source is written; 0 means all may.
      least: as many tokens are made before the text may end.
      first: token that is made first, or None.
      last: tokens one of which is made last, if the text has not ended by then.
      growth: (n, factor): after n tokens, the k-th score s of an end becomes
        s + |s| (factor^k - 1); or None.
      suppressed: tokens that are never made.
      suppressed_once: tokens that are not made at place `once`.
      once: 0 for the first token.
      normalise: whether the scores become log p again in the end.
    """

    biases: tuple[tuple[tuple[int, ...], float], ...] = ()
    source_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat: int = 0
    no_repeat_source: int = 0
    least: int = 0
    first: int | None = None
    last: tuple[int, ...] = ()
    growth: tuple[int, float] | None = None
    suppressed: tuple[int, ...] = ()
    suppressed_once: tuple[int, ...] = ()
    once: int = 0
    normalise: bool = False

    def __post_init__(self):
        for name in ('source_penalty', 'repetition_penalty'):
            value = getattr(self, name)
            if not 0 < value < float('inf'):
                raise UserError(f'{name} {value} cannot be used; accepted: above 0')
        for name in ('no_repeat', 'no_repeat_source', 'least', 'once'):
            value = getattr(self, name)
            if value < 0:
                raise UserError(f'{name} {value} cannot be used; accepted: at least 0')


def is_end(tokens: jax.Array, ends: Ends) -> jax.Array:
    """Whether each token ends a text."""
    ends = () if ends is None else (ends,) if isinstance(ends, int) else ends
    found = jnp.zeros(tokens.shape, bool)
    for end in ends:
        found |= tokens == end
    return found


def adjuster(
    how: Constraints,
    ends: tuple[int, ...],
    prompt_RP: jax.Array,
    source_RS: jax.Array,
    room: int,
) -> Adjust | None:
    """The function that applies constraints; None where there are none.

    Args:
      ends: tokens that end a text.
      prompt_RP: what was written before.
      source_RS: what was read.
      room: tokens that are made at most.
    """
    if how == Constraints():
        return None

    def adjust(scores_RV, tokens_RM, made):
        V = scores_RV.shape[-1]
        text_RT = jnp.concatenate([prompt_RP, tokens_RM], 1)
        size = prompt_RP.shape[1] + made
        ends_V = _these(ends, V)
        never = -jnp.inf

        def ban(scores_RV, banned):
            return jnp.where(banned, never, scores_RV)

        if how.biases:
            scores_RV = _biased(scores_RV, text_RT, size, how.biases)
        if how.source_penalty != 1:
            scores_RV = _penalised(scores_RV, source_RS, how.source_penalty)
        if how.repetition_penalty != 1:
            scores_RV = _penalised(scores_RV, text_RT, how.repetition_penalty)
        if how.no_repeat:
            scores_RV = ban(scores_RV, _repeats(text_RT, size, text_RT, how.no_repeat, V))
        if how.no_repeat_source:
            found_RV = _repeats(text_RT, size, source_RS, how.no_repeat_source, V)
            scores_RV = ban(scores_RV, found_RV)
        if how.least and ends:
            scores_RV = ban(scores_RV, ends_V & (made < how.least))
        if how.first is not None:
            scores_RV = _forced(scores_RV, (how.first,), made == 0)
        if how.last:
            scores_RV = _forced(scores_RV, how.last, made == room - 1)
        if how.growth is not None:
            after, factor = how.growth
            # Where nothing grows yet, the exponent is 0.
            more = factor ** jnp.maximum(made - after, 0).astype(jnp.float32) - 1
            grown_RV = scores_RV + jnp.abs(scores_RV) * more
            scores_RV = jnp.where(ends_V & jnp.isfinite(scores_RV), grown_RV, scores_RV)
        if how.suppressed:
            scores_RV = ban(scores_RV, _these(how.suppressed, V))
        if how.suppressed_once:
            scores_RV = ban(scores_RV, _these(how.suppressed_once, V) & (made == how.once))
        return jax.nn.log_softmax(scores_RV) if how.normalise else scores_RV

    return adjust


def _these(tokens: Iterable[int], V: int) -> jax.Array:
    """[1, V], whether a token is one of them."""
    return jnp.asarray(np.isin(np.arange(V), tuple(tokens)))[None]


def _forced(scores_RV: jax.Array, tokens: tuple[int, ...], now: jax.Array) -> jax.Array:
    only_1V = jnp.where(_these(tokens, scores_RV.shape[-1]), 0.0, -jnp.inf)
    return jnp.where(now, only_1V, scores_RV)


def _held(tokens_RT: jax.Array, V: int) -> jax.Array:
    """[R, V], whether a row holds a token."""
    R = tokens_RT.shape[0]
    at_RT = jnp.where(tokens_RT < 0, V, tokens_RT)
    held = jnp.zeros((R, V), bool).at[jnp.arange(R)[:, None], at_RT]
    return held.set(True, mode='drop')


def _penalised(scores_RV: jax.Array, tokens_RT: jax.Array, penalty: float) -> jax.Array:
    less_RV = jnp.where(scores_RV < 0, scores_RV * penalty, scores_RV / penalty)
    return jnp.where(_held(tokens_RT, scores_RV.shape[-1]), less_RV, scores_RV)


def _tail(text_RT: jax.Array, size: jax.Array, count: int) -> jax.Array:
    """The last `count` tokens of the first `size` slots, [R, count]; -1 where there are fewer."""
    padded = jnp.pad(text_RT, ((0, 0), (count, 0)), constant_values=-1)
    return jax.lax.dynamic_slice_in_dim(padded, size, count, 1)


def _repeats(text_RT: jax.Array, size: jax.Array, among_RS: jax.Array, n: int, V: int) -> jax.Array:
    """[R, V], tokens that would complete an n-gram which `among_RS` holds."""
    windows = among_RS.shape[1] - n + 1
    if windows < 1:
        return jnp.zeros((text_RT.shape[0], V), bool)
    tail_Rn = _tail(text_RT, size, n - 1)
    same_RW = jnp.broadcast_to((tail_Rn >= 0).all(1, keepdims=True), (text_RT.shape[0], windows))
    for i in range(n - 1):
        same_RW &= among_RS[:, i : i + windows] == tail_Rn[:, i : i + 1]
    return _held(jnp.where(same_RW, among_RS[:, n - 1 :], -1), V)


def _biased(scores_RV, text_RT, size, biases) -> jax.Array:
    lengths = sorted({len(tokens) for tokens, _ in biases})
    for length in lengths:  # those of one length together
        group = [(tokens, bias) for tokens, bias in biases if len(tokens) == length]
        before_Xn = jnp.asarray([tokens[:-1] for tokens, _ in group], jnp.int32)
        last_X = jnp.asarray([tokens[-1] for tokens, _ in group])
        bias_X = jnp.asarray([bias for _, bias in group], jnp.float32)
        tail_Rn = _tail(text_RT, size, length - 1)
        same_RX = (tail_Rn[:, None] == before_Xn.reshape(1, len(group), length - 1)).all(-1)
        scores_RV = scores_RV.at[:, last_X].add(jnp.where(same_RX, bias_X[None], 0.0))
    return scores_RV
