"""Ring attention, https://arxiv.org/abs/2310.01889: queries stay, keys and values go round.

Each device holds a part of the sequence. Its queries meet the keys of one device after the other,
by `online`; which, says `rounds`. The backward pass goes round once more, with the gradients of
keys and values. So memory grows with the parts, not with the sequence.

B batch, T query length, S key length, N heads, K key/value heads, G = N / K, H head width.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from transformer.ops import partition
from transformer.ops.attention import online, zigzag
from transformer.ops.attention.rounds import Rounds
from transformer.ops.kept import ATTENTION
from transformer.ops.masks import Mask
from transformer.ops.partition import CONTEXT

NOWHERE = -1  # segment of the filling; no token has it


def ring(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop, bias, softcap):
    """As the reference. Without a mesh that splits sequences it is a ring of one.

    Lengths that do not split evenly are filled up and cut again.
    """
    del drop  # refused by `attend`
    (B, _, T, _), (K, S) = q_BNTH.shape, k_BKSH.shape[1:3]
    n = partition.ways().get(CONTEXT, 1)
    ids_BT, ids_BS = mask.segments_BT, mask.segments_BS
    if ids_BT is None and (T % n or S % n):
        ids_BT, ids_BS = jnp.zeros((B, T), jnp.int32), jnp.zeros((B, S), jnp.int32)
    q, k, v = (_filled(x, n, 2, 0) for x in (q_BNTH * scale, k_BKSH, v_BKSH))
    known = {
        'segments_BT': _filled(ids_BT, n, 1, NOWHERE),
        'segments_BS': _filled(ids_BS, n, 1, NOWHERE),
        'prefix_BS': _filled(mask.prefix_BS, n, 1, False),
    }
    rounds = Rounds.of(n, q.shape[2], k.shape[2], mask)
    if n == 1:
        return _part(rounds, softcap, None, q, k, v, known, bias)
    rows, heads = partition.dividing(partition.ROWS, B), partition.dividing(partition.HEADS, K)
    x, ids = PartitionSpec(rows, heads, CONTEXT), PartitionSpec(rows, CONTEXT)
    part = functools.partial(_part, rounds, softcap, heads)
    in_specs = (x, x, x, dict.fromkeys(known, ids), PartitionSpec())
    return partition.mapped(part, in_specs, x)(q, k, v, known, bias)[:, :, :T]


def _filled(x: jax.Array | None, n: int, axis: int, value: int) -> jax.Array | None:
    if x is None:
        return None
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % n)
    return jnp.pad(x, widths, constant_values=value)


def _part(rounds: Rounds, softcap, head_axes, q_BNTH, k_BKSH, v_BKSH, known, bias):
    """One device's part of the output."""
    B, N, T, H = q_BNTH.shape
    heads_N = jnp.arange(N)
    if head_axes:
        heads_N += N * lax.axis_index(head_axes)
    q = q_BNTH.reshape(B, k_BKSH.shape[1], -1, T, H)
    if rounds.halves == 1:
        y_BKGTH = _attend(rounds, softcap, q, k_BKSH, v_BKSH, known, bias, heads_N)
    else:
        q, k, v = zigzag.deal(q, 3), zigzag.deal(k_BKSH, 2), zigzag.deal(v_BKSH, 2)
        known = jax.tree.map(lambda x: zigzag.deal(x, 1), known)
        y_BKGTH = zigzag.collect(_attend(rounds, softcap, q, k, v, known, bias, heads_N), 3)
    return y_BKGTH.reshape(q_BNTH.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(rounds, softcap, q_BKGTH, k_BKSH, v_BKSH, known, bias, heads_N):
    return _forward(rounds, softcap, q_BKGTH, k_BKSH, v_BKSH, known, bias, heads_N)[0]


def _forward(rounds, softcap, q_BKGTH, k_BKSH, v_BKSH, known, bias, heads_N):
    at, rules = rounds.here(), online.Rules(bias, heads_N, rounds.causal, rounds.window, softcap)
    queries = _queries(rounds, q_BKGTH, known)

    def step(carry, source):
        block, sums = carry
        keys, sums = _keys(rounds, source, block), list(sums)
        for a, b in rounds.pairs():
            add = lambda x, a=a, b=b: x.add(rules, queries[a], keys[b])  # noqa: E731
            sums[a] = _if(rounds.meet(at, source, a, b, keys[b].prefix_BS), add, sums[a])
        return rounds.passed(block), sums

    block = k_BKSH, v_BKSH, known['segments_BS'], known['prefix_BS']
    sums = [online.Sums.empty(x.q_BKGTH) for x in queries]
    _, sums = rounds.go(step, (block, sums))
    out, log_totals = zip(*(x.finish() for x in sums))
    y_BKGTH = jnp.concatenate(out, 3).astype(q_BKGTH.dtype)
    y_BKGTH, log_totals = checkpoint_name((y_BKGTH, log_totals), ATTENTION)
    return y_BKGTH, (q_BKGTH, k_BKSH, v_BKSH, known, bias, heads_N, y_BKGTH, log_totals)


def _backward(rounds, softcap, kept, grad_BKGTH):
    q_BKGTH, k_BKSH, v_BKSH, known, bias, heads_N, y_BKGTH, log_totals = kept
    at, rules = rounds.here(), online.Rules(bias, heads_N, rounds.causal, rounds.window, softcap)
    queries = _queries(rounds, q_BKGTH, known)
    dot_BKGT1 = (grad_BKGTH.astype(jnp.float32) * y_BKGTH).sum(-1, keepdims=True)
    outputs = list(zip(log_totals, rounds.split(grad_BKGTH, 3), rounds.split(dot_BKGT1, 3)))

    def step(carry, source):
        block, by_kv, by_q, by_bias = carry
        keys, by_q = _keys(rounds, source, block), list(by_q)
        by_k, by_v = (rounds.split(x, 2) for x in by_kv)
        for a, b in rounds.pairs():

            def add(sums, a=a, b=b):
                more = online.gradients(rules, queries[a], keys[b], *outputs[a])
                return jax.tree.map(jnp.add, sums, more)

            sums = by_q[a], by_k[b], by_v[b], by_bias
            seen = rounds.meet(at, source, a, b, keys[b].prefix_BS)
            by_q[a], by_k[b], by_v[b], by_bias = _if(seen, add, sums)
        by_kv = jnp.concatenate(by_k, 2), jnp.concatenate(by_v, 2)
        return *rounds.passed((block, by_kv)), by_q, by_bias

    zeros = functools.partial(jax.tree.map, lambda x: jnp.zeros(x.shape, jnp.float32))
    start = zeros((k_BKSH, v_BKSH)), zeros([x.q_BKGTH for x in queries]), zeros(bias)
    block = k_BKSH, v_BKSH, known['segments_BS'], known['prefix_BS']
    _, by_kv, by_q, by_bias = rounds.go(step, (block, *start))
    by_k, by_v = rounds.passed(by_kv, rounds.n - rounds.count)  # home
    as_given = functools.partial(jax.tree.map, lambda x, like: x.astype(like.dtype))
    given = q_BKGTH, k_BKSH, v_BKSH, bias
    *by_qkv, by_bias = as_given((jnp.concatenate(by_q, 3), by_k, by_v, by_bias), given)
    return *by_qkv, None, by_bias, None


_attend.defvjp(_forward, _backward)


def _queries(rounds, q_BKGTH, known) -> list[online.Queries]:
    parts = rounds.split(q_BKGTH, 3), rounds.split(known['segments_BT'], 1)
    return list(map(online.Queries, *parts, rounds.query_slots(rounds.here())))


def _keys(rounds, source, block) -> list[online.Keys]:
    parts = [rounds.split(x, axis) for x, axis in zip(block, (2, 2, 1, 1))]
    return list(map(online.Keys, *parts, rounds.key_slots(source)))


def _if(holds, change, x):
    return change(x) if holds is True else lax.cond(holds, change, lambda x: x, x)
