"""Small mixtures of experts, and what they are by their definition."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from transformer.context import Context
from transformer.moe import MoE, MoEConfig

B, T, D, F, E = 4, 8, 8, 16, 4
SEGMENTS = np.array(
    [[1] * 3 + [2] * 5, [0] * 3 + [1] * 5, [1] * 5 + [0] * 3, [1] * 5 + [2] * 3], np.int32
)

SWITCH = MoEConfig(E, F, top_k=1, activation='relu', bias=True)
MIXTRAL = MoEConfig(E, F, top_k=2, activation='silu', gated=True, normalize=True)
BOTH = MoEConfig(E, F, top_k=2, activation='tanh', gated=True, bias=True, balance=0.3, router_z=0.2)
ALL = {
    'switch': SWITCH,
    'mixtral': MIXTRAL,
    'both': BOTH,
    'switch, limited': dataclasses.replace(SWITCH, capacity=0.5),
    'both, limited': dataclasses.replace(BOTH, capacity=0.75),
}
DROPLESS = [name for name in ALL if not ALL[name].capacity]
NUMPY = {
    'relu': lambda x: np.maximum(x, 0),
    'silu': lambda x: x / (1 + np.exp(-x)),
    'tanh': np.tanh,
}


def context(segments_BT=SEGMENTS, **more) -> Context:
    return Context.of(segments_BT, segments_BT=jnp.asarray(segments_BT), **{'train': True} | more)


@functools.lru_cache
def setup(config):
    """Module, parameters all away from zero, and inputs."""
    moe = MoE(config, D)
    rng = np.random.default_rng(2)
    x_BTD = rng.normal(size=(B, T, D)).astype(np.float32)
    shapes = jax.eval_shape(moe.init, jax.random.key(1), x_BTD, context())['params']
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)
    return moe, params, x_BTD


CT_BTD = np.random.default_rng(3).normal(size=(B, T, D)).astype(np.float32)


@functools.lru_cache
def compiled(config):
    """One program for most tests: gradients of sum(y * ct) + loss, and (y_BTD, aux)."""
    moe, *_ = setup(config)

    def loss(params, x, segments, ct_BTD):
        y_BTD, aux = moe.apply({'params': params}, x, context(segments))
        return (y_BTD * ct_BTD).sum() + aux['loss'], (y_BTD, aux)

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))


def run(config, params, x_BTD, segments_BT=SEGMENTS):
    return compiled(config)(params, x_BTD, segments_BT, CT_BTD)[1]


def by_loops(config, params, x_BTD, segments_BT):
    """y, dropped choices and what is kept [K, N], one token at a time, float64."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x_ND, real_N = np.asarray(x_BTD, np.float64).reshape(-1, D), segments_BT.reshape(-1) > 0
    N, K, act = len(x_ND), config.top_k, NUMPY[config.activation]

    def linear(name, e, x):
        return x @ p[f'experts_{name}']['kernel'][e] + (
            p[f'experts_{name}']['bias'][e] if config.bias else 0
        )

    def expert(e, x):
        up = linear('up', e, x)
        return linear('down', e, act(linear('gate', e, x)) * up if config.gated else act(up))

    probs_NE = np.exp(x_ND @ p['router']['kernel'])
    probs_NE /= probs_NE.sum(1, keepdims=True)
    chosen_NK = np.argsort(-probs_NE, axis=1, kind='stable')[:, :K]
    room = math.ceil(config.capacity * K * N / E) if config.capacity else N
    taken, y_ND, kept_KN = np.zeros(E, int), np.zeros((N, D)), np.zeros((K, N), bool)
    for k in range(K):
        for n in np.flatnonzero(real_N):
            e = chosen_NK[n, k]
            if taken[e] == room:
                continue
            taken[e] += 1
            kept_KN[k, n] = True
            total = probs_NE[n, chosen_NK[n]].sum() if config.normalize else 1
            y_ND[n] += probs_NE[n, e] / total * expert(e, x_ND[n])
    return y_ND.reshape(B, T, D), K * real_N.sum() - kept_KN.sum(), kept_KN
