"""Experts: MLPs of which each token uses few. B batch, T length, D width, F hidden, E experts.

Here are the parameters; the work is done by `ops.experts`.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.errors import ConfigError
from transformer.layers import Dropout, Linear
from transformer.mlps import ACTIVATIONS
from transformer.ops.experts import mixture


@dataclasses.dataclass(frozen=True)
class MoEConfig:
    """y = sum over the top K experts of p_e(x) MLP_e(x), p = softmax(router(x)).

    Top-1 with a capacity is the Switch Transformer, https://arxiv.org/abs/2101.03961; top-2,
    gated, normalised and without a capacity is Mixtral, https://arxiv.org/abs/2401.04088.

    Attributes:
      experts: E.
      hidden: F of each expert.
      top_k: K, experts that work on a token.
      capacity: with a factor, an expert takes at most ceil(factor * K * N / E) tokens, N being all
        places of the (micro)batch, padding included; what comes later in the batch is dropped and
        passes by on the residual stream. So it depends on the other rows; outside training nothing
        is dropped. None or 0 means that experts take all that come.
      groups: rows of the (micro)batch are dealt into so many groups, one after another, and an
        expert takes at most ceil(factor * K * N / groups / E) tokens of each; as many as devices
        that split rows, or a multiple, keep what experts exchange smallest,
        https://arxiv.org/abs/2006.16668. Whatever the devices, it is part of what the model is.
      activation: a key of `mlps.ACTIVATIONS`.
      gated: whether an expert has a gate, as `mlps.MLPConfig` has.
      normalize: whether the weights of a token's K experts are scaled to sum to one.
      balance: weight of the loss that keeps experts evenly loaded.
      router_z: weight of the loss that keeps the router's logits small,
        https://arxiv.org/abs/2202.08906.
      jitter: in training the router's input is multiplied by noise from 1 - jitter to 1 + jitter.
      jitter_experts: whether the experts read the noisy input too.
      limit: an expert takes at most so many tokens of each document in a call, whoever comes first,
        also outside training; the others pass by. 0 means as many as come. For top-1 only.
      router_bias: whether the router has one.
      dropout: share of the hidden units that is dropped in training; all experts of a token drop
        the same.

    Raises:
      ConfigError: a field holds a value that cannot be used.
    """

    experts: int
    hidden: int
    top_k: int = 1
    capacity: float | None = None
    groups: int = 1
    activation: str = 'gelu'
    gated: bool = False
    bias: bool = False
    normalize: bool = False
    balance: float = 0.01
    router_z: float = 0.001
    jitter: float = 0.0
    jitter_experts: bool = False
    limit: int = 0
    router_bias: bool = False
    dropout: float = 0.0
    init: InitConfig = InitConfig()

    def __post_init__(self):
        def require(name, value, holds, accepted):
            if not holds:
                raise ConfigError(f'model.{name}', value, accepted)

        require('experts', self.experts, self.experts > 0, 'a whole number above 0')
        require('hidden', self.hidden, self.hidden > 0, 'a whole number above 0')
        accepted = f'a whole number from 1 to config.model.experts={self.experts}'
        require('top_k', self.top_k, 1 <= self.top_k <= self.experts, accepted)
        known = f'an MLP with one of the activations {", ".join(ACTIVATIONS)}'
        require('mlp', self.activation, self.activation in ACTIVATIONS, known)
        for name, value in (
            ('expert_capacity', self.capacity or 0),
            ('expert_balance', self.balance),
            ('expert_z', self.router_z),
        ):
            holds = value >= 0 and math.isfinite(value)
            require(name, value, holds, 'a finite number of at least 0')
        require('expert_jitter', self.jitter, 0 <= self.jitter < 1, 'a number from 0 to below 1')
        fits = self.groups == 1 or (self.groups > 1 and bool(self.capacity))
        accepted = 'a whole number above 0; without config.model.expert_capacity 1'
        require('expert_groups', self.groups, fits, accepted)
        fits = self.limit == 0 or (self.limit > 0 and self.top_k == 1)
        require('limit', self.limit, fits, f'0, or with top_k=1 more; here top_k={self.top_k}')


class Experts(nn.Module):
    """The parameters of one linear map for each expert: kernel [E, in, out] and bias [E, out].

    Attributes:
      shape: of the kernel.
      residual: whether the output goes into the residual stream (see `InitConfig.residual`).
    """

    shape: tuple[int, int, int]
    init: InitConfig
    bias: bool = False
    residual: bool = False
    dtype: str = 'float32'

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        E, fan_in, out = self.shape
        std = (self.init.std or fan_in**-0.5) * (self.init.residual if self.residual else 1.0)
        found = {'kernel': self.param('kernel', nn.initializers.normal(std), self.shape)}
        if self.bias:
            found['bias'] = self.param('bias', nn.initializers.zeros, (E, out))
        return {name: x.astype(self.dtype) for name, x in found.items()}


@registry.register(MoEConfig)
class MoE(nn.Module):
    config: MoEConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, ctx: Context) -> tuple[jax.Array, dict]:
        """Returns y_BTD, zero at padding, and a report.

        The report is `loss`, float32, already weighted, a mean over tokens; and `stats`, float32
        scalars: those of `routing.report` and `dropped`, the number of choices that were dropped.

        Raises:
          ConfigError: rows that cannot be dealt into `config.groups`.
        """
        c, limited = self.config, bool(self.config.capacity) and ctx.train
        if limited and len(x_BTD) % c.groups:
            accepted = f'a divisor of the {len(x_BTD)} rows of a (micro)batch'
            raise ConfigError('model.expert_groups', c.groups, accepted)
        noisy_BTD = self._noisy(x_BTD, ctx)
        y_BTD, stats = mixture(
            (noisy_BTD if c.jitter_experts else x_BTD).astype(self.dtype),
            self._logits(noisy_BTD),
            ctx.segments_BT,
            self._experts(),
            self._kept(ctx),
            top_k=c.top_k,
            normalize=c.normalize,
            activation=ACTIVATIONS[c.activation],
            capacity=c.capacity if limited else 0,
            groups=c.groups if limited else 1,
            limit=c.limit,
        )
        loss = c.balance * stats['balance'] + c.router_z * stats['router_z']
        return y_BTD, {'loss': loss, 'stats': stats}

    def _noisy(self, x_BTD: jax.Array, ctx: Context) -> jax.Array:
        """The input with the jitter of training, then float32."""
        c = self.config
        if not ctx.train or not c.jitter:
            return x_BTD
        key = self.make_rng('dropout')
        keys_B = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, ctx.rows_B)
        low, high = 1 - c.jitter, 1 + c.jitter
        noise = lambda k: jax.random.uniform(k, x_BTD.shape[1:], minval=low, maxval=high)  # noqa: E731
        return x_BTD.astype(jnp.float32) * jax.vmap(noise)(keys_B)

    def _logits(self, x_BTD: jax.Array) -> jax.Array:
        """Float32 throughout: the choice between experts is not to hang on rounding."""
        c, x_BTD = self.config, x_BTD.astype(jnp.float32)
        with jax.default_matmul_precision('float32'):
            shape, bias = (self.width, c.experts), c.router_bias
            return Linear('btd,de->bte', shape, c.init, bias, name='router')(x_BTD)

    def _experts(self) -> dict[str, dict[str, jax.Array]]:
        """Parameters of `up`, `down` and, where there is one, `gate`."""
        c, D = self.config, self.width
        common = {'init': c.init, 'bias': c.bias, 'dtype': self.dtype}
        make = lambda name, *shape, **more: Experts(  # noqa: E731
            (c.experts, *shape), name=f'experts_{name}', **common, **more
        )()
        found = {name: make(name, D, c.hidden) for name in ('up', 'gate')[: 1 + c.gated]}
        return found | {'down': make('down', c.hidden, D, residual=True)}

    def _kept(self, ctx: Context) -> jax.Array | None:
        """What hidden units are multiplied by, drawn where a token stands, whoever works on it."""
        if not ctx.train or not self.config.dropout:
            return None
        shape = (*ctx.segments_BT.shape, self.config.hidden)
        return Dropout(self.config.dropout)(jnp.ones(shape, self.dtype), ctx)
