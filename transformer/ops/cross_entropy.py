"""Cross-entropy of tokens whose scores are never all in memory.

    s = softcap(x table^T + bias),  loss = sum_n w_n (log sum_v exp s_nv - s_nt)

Scores are made for some tokens at a time. As the weights are known, what the loss tells x, the
table and the bias is computed there and then, and the backward pass has nothing left to do but to
multiply by one number, https://arxiv.org/abs/2410.10989: no score is computed twice. Tokens of
weight 0 are sorted to the end, where the loop does not go (`token_chunks`).

Over a mesh each device has its rows and places and, along `tensor`, its part of the vocabulary, of
which maxima and sums are exchanged. Gradients of the table are summed over devices once, at the
end. A vocabulary that `tensor` does not divide is filled up with tokens of no probability.

B rows, T places, E width of a token's vector, V vocabulary, C tokens of a chunk.
"""

import dataclasses
import functools
import math

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from transformer.ops import partition
from transformer.ops.token_chunks import Axes, over_chunks
from transformer.ops.unscored import Unscored, products

# Outside pipelines `stage` splits rows too.
ROWS = (*partition.ROWS, 'stage')
NEVER = -1e30  # score of what fills up a vocabulary


def device_share(B: int, T: int, V: int) -> tuple[int, int]:
    """How many tokens, and how much of the vocabulary, a device of the mesh in force scores."""
    split = _Split.of(B, T)
    return B * T // split.ways(split.tokens), -(-V // split.ways(split.tensor))


def linear_cross_entropy(
    found: Unscored,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    smoothing: float = 0.0,
    *,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    """What `losses.cross_entropy` makes of `found.scores()`, `chunk` tokens of a device at a time.

    With label smoothing, https://arxiv.org/abs/1512.00567, s_nt becomes its mix with the mean of
    all scores in the first result. Only this one has a gradient, to x, the table and the bias.

    Args:
      targets_BT: int32.
      weights_BT: float32.

    Returns:
      A float32 scalar in nats, and float32 [B], the sum of each row, not smoothed.
    """
    how, table_VE, bias_V = _How.of(found, chunk, smoothing)
    weights_BT = lax.stop_gradient(weights_BT)
    loss, nats_B = _loss(how, found.x_BTE, table_VE, bias_V, targets_BT, weights_BT)
    return loss, lax.stop_gradient(nats_B)


def linear_report(
    found: Unscored, targets_BT: jax.Array, weights_BT: jax.Array, *, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Each row's nats, and the weight of tokens whose target has the highest score; float32 [B].

    Args: as of `linear_cross_entropy`.
    """
    how, table_VE, bias_V = _How.of(found, chunk)
    report = how.mapped(_report, (how.by_token, how.by_token))
    nats_BT, right_BT = report(found.x_BTE, table_VE, bias_V, targets_BT, weights_BT)
    return nats_BT.sum(1), right_BT.sum(1)


@dataclasses.dataclass(frozen=True)
class _Split:
    """Axes of the mesh in force that split rows, places and the vocabulary."""

    rows: Axes
    places: Axes
    tensor: Axes

    @classmethod
    def of(cls, B: int, T: int):
        rows = partition.first_dividing(ROWS, B) or ()
        places = partition.dividing((partition.CONTEXT,), T) or ()
        found = partition.ways()
        return cls(rows, places, tuple(axis for axis in partition.HEADS if axis in found))

    @property
    def tokens(self) -> Axes:
        return self.rows + self.places

    def ways(self, axes: Axes) -> int:
        found = partition.ways()
        return math.prod(found[axis] for axis in axes)


@dataclasses.dataclass(frozen=True)
class _How:
    """How the work is cut, and what the loss is.

    Attributes:
      chunk: tokens at a time.
      vocab: V.
      scatter: axis that is to split the columns of the table's gradient, if there is one.
    """

    split: _Split
    chunk: int
    vocab: int
    softcap: float
    smoothing: float
    scatter: Axes

    @classmethod
    def of(cls, found: Unscored, chunk: int, smoothing: float = 0.0):
        """Also the table and the bias, filled up where `tensor` does not divide them."""
        (B, T, E), (V, _) = found.x_BTE.shape, found.table_VE.shape
        split = _Split.of(B, T)
        # Where the layout of parameters would have it, `fsdp`.
        scatter = tuple(a for a in split.rows if a == 'fsdp' and E % split.ways((a,)) == 0)
        how = cls(split, chunk, V, found.softcap, smoothing, scatter)
        more = -V % split.ways(split.tensor)
        table_VE, bias_V = found.table_VE, found.bias_V
        if more:
            table_VE = jnp.pad(table_VE, ((0, more), (0, 0)))
            bias_V = None if bias_V is None else jnp.pad(bias_V, (0, more))
        return how, table_VE, bias_V

    @property
    def by_token(self) -> P:
        return P(self.split.rows, self.split.places)

    @property
    def by_vocab(self) -> P:
        return P(self.split.tensor)

    def mapped(self, f, out_specs):
        """`f` of x, table, bias, targets and weights on every device's parts."""
        tokens, vocab, f = self.by_token, self.by_vocab, functools.partial(f, self)
        in_specs = (tokens, vocab, vocab, tokens, tokens)
        return partition.mapped(f, in_specs, out_specs) if partition.ways() else f


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(how, x_BTE, table_VE, bias_V, targets_BT, weights_BT):
    return _forward(how, x_BTE, table_VE, bias_V, targets_BT, weights_BT)[0]


def _forward(how, *arrays):
    tokens, vocab = how.by_token, how.by_vocab
    out_specs = (tokens, tokens, (tokens, P(how.split.tensor, how.scatter), vocab))
    loss_BT, nats_BT, grads = how.mapped(_learn, out_specs)(*arrays)
    return (loss_BT.sum(), nats_BT.sum(1)), grads


def _backward(how, grads, cotangents):
    by_loss, _ = cotangents
    return *jax.tree.map(lambda g: (g * by_loss).astype(g.dtype), grads), None, None


_loss.defvjp(_forward, _backward)


def _learn(how, x_BTE, table_VE, bias_V, targets_BT, weights_BT):
    """One device's nats, smoothed and not, and its gradients."""

    def step(sums, x_CE, targets_C, weights_C):
        by_table_VE, by_bias_V = sums
        x_CE = jnp.where(weights_C[:, None] != 0, x_CE, 0)  # nothing, not even NaN, of the others
        seen = _Seen.of(how, x_CE, table_VE, bias_V, targets_C)
        nats_C = loss_C = seen.log_total_C - seen.target_C
        if how.smoothing:
            loss_C = (1 - how.smoothing) * nats_C + how.smoothing * (seen.log_total_C - seen.mean_C)
        by_scores_CV = seen.gradient(how) * weights_C[:, None]
        narrow_CV = by_scores_CV.astype(x_CE.dtype)
        by_table_VE += products('cv,ce->ve', narrow_CV, x_CE)
        by_x_CE = products('cv,ve->ce', narrow_CV, table_VE).astype(x_CE.dtype)
        if by_bias_V is not None:
            by_bias_V += by_scores_CV.sum(0)
        return (by_table_VE, by_bias_V), (loss_C * weights_C, nats_C * weights_C, by_x_CE)

    zeros = lambda x: jnp.zeros(x.shape, jnp.float32)  # noqa: E731
    sums = jax.tree.map(zeros, (table_VE, bias_V))
    axes = how.split.tokens
    sums, told = over_chunks(step, sums, (x_BTE, targets_BT), weights_BT, how.chunk, axes)
    loss_BT, nats_BT, by_x_BTE = told
    by_table_VE, by_bias_V = sums
    if how.scatter:
        (axis,) = how.scatter
        by_table_VE = lax.psum_scatter(by_table_VE, axis, scatter_dimension=1, tiled=True)
    by_table_VE = _sum(by_table_VE, tuple(axis for axis in axes if axis not in how.scatter))
    by_bias_V = None if by_bias_V is None else _sum(by_bias_V, axes)
    by_x_BTE = _sum(by_x_BTE, how.split.tensor)
    return loss_BT, nats_BT, (by_x_BTE, by_table_VE.astype(table_VE.dtype), by_bias_V)


def _report(how, x_BTE, table_VE, bias_V, targets_BT, weights_BT):
    """One device's weighted nats, and weights of what is right."""

    def step(sums, x_CE, targets_C, weights_C):
        x_CE = jnp.where(weights_C[:, None] != 0, x_CE, 0)
        seen = _Seen.of(how, x_CE, table_VE, bias_V, targets_C)
        best_CV = seen.scores_CV == seen.top_C[:, None]
        first_C = jnp.where(best_CV, seen.token_V[None], how.vocab).min(1)  # as `argmax`
        first_C = lax.pmin(first_C, how.split.tensor) if how.split.tensor else first_C
        right_C = jnp.where(first_C == targets_C, weights_C, 0)
        return sums, (weights_C * (seen.log_total_C - seen.target_C), right_C)

    axes = how.split.tokens
    return over_chunks(step, (), (x_BTE, targets_BT), weights_BT, how.chunk, axes)[1]


@flax.struct.dataclass
class _Seen:
    """Scores of one chunk for a device's part of the vocabulary, and what all parts say.

    Attributes:
      scores_CV: float32, `NEVER` for what fills up the vocabulary.
      slope_CV: what the softcap multiplies gradients by; None without one.
      token_V: int32, the tokens of this part.
      at_CV: bool, where the target is.
      top_C: the highest score.
      log_total_C: log sum_v exp s.
      target_C: the target's score.
      mean_C: of all scores; None where nothing is smoothed.
    """

    scores_CV: jax.Array
    slope_CV: jax.Array | None
    token_V: jax.Array
    at_CV: jax.Array
    top_C: jax.Array
    log_total_C: jax.Array
    target_C: jax.Array
    mean_C: jax.Array | None

    @classmethod
    def of(cls, how, x_CE, table_VE, bias_V, targets_C):
        scores_CV, slope_CV = products('ce,ve->cv', x_CE, table_VE), None
        if bias_V is not None:
            scores_CV += bias_V[None]
        if how.softcap:
            tanh_CV = jnp.tanh(scores_CV / how.softcap)
            scores_CV, slope_CV = how.softcap * tanh_CV, 1 - tanh_CV**2
        token_V = jnp.arange(len(table_VE), dtype=jnp.int32)
        if how.split.tensor:
            token_V += lax.axis_index(how.split.tensor) * len(table_VE)
            scores_CV = jnp.where(token_V[None] < how.vocab, scores_CV, NEVER)
        top_C = scores_CV.max(1)
        top_C = lax.pmax(top_C, how.split.tensor) if how.split.tensor else top_C
        total_C = _sum(jnp.exp(scores_CV - top_C[:, None]).sum(1), how.split.tensor)
        at_CV, mean_C = targets_C[:, None] == token_V[None], None
        target_C = _sum(jnp.where(at_CV, scores_CV, 0).sum(1), how.split.tensor)
        if how.smoothing:
            real_CV = jnp.where(token_V[None] < how.vocab, scores_CV, 0)
            mean_C = _sum(real_CV.sum(1), how.split.tensor) / how.vocab
        log_total_C = top_C + jnp.log(total_C)
        return cls(scores_CV, slope_CV, token_V, at_CV, top_C, log_total_C, target_C, mean_C)

    def gradient(self, how) -> jax.Array:
        """Of each token's loss to its scores before the softcap, [C, V]."""
        chance_CV = jnp.exp(self.scores_CV - self.log_total_C[:, None])
        uniform = how.smoothing / how.vocab
        gradient_CV = chance_CV - jnp.where(self.at_CV, 1 - how.smoothing + uniform, uniform)
        return gradient_CV if self.slope_CV is None else gradient_CV * self.slope_CV


def _sum(x: jax.Array, axes: Axes) -> jax.Array:
    return lax.psum(x, axes) if axes else x
