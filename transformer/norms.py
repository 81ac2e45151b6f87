"""Normalisation over the last axis. Statistics in float32 whatever the compute type."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry


@dataclasses.dataclass(frozen=True)
class LayerNormConfig:
    """(x - mean) / sqrt(variance + eps) * scale + bias, https://arxiv.org/abs/1607.06450.

    Attributes:
      bias: whether there is one.
      scale: whether there is one.
    """

    eps: float = 1e-5
    bias: bool = True
    scale: bool = True


@dataclasses.dataclass(frozen=True)
class RMSNormConfig:
    """x / sqrt(mean(x^2) + eps) * (offset + scale), https://arxiv.org/abs/1910.07467.

    Attributes:
      offset: 1 in Gemma, whose scales start at, and decay to, zero.
    """

    eps: float = 1e-6
    offset: float = 0.0


@dataclasses.dataclass(frozen=True)
class NoNormConfig:
    """x as it is: for models that are taken apart, where a norm would be in the way."""


@registry.register(NoNormConfig)
class NoNorm(nn.Module):
    config: NoNormConfig
    dtype: str = 'float32'

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        return x_BTD


@registry.register(LayerNormConfig)
class LayerNorm(nn.Module):
    config: LayerNormConfig
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        x = x_BTD.astype(jnp.float32)
        x -= x.mean(-1, keepdims=True)
        x *= jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + self.config.eps)
        shape = (1,) * (x.ndim - 1) + x.shape[-1:]
        if self.config.scale:
            x *= self.param('scale', nn.initializers.ones, x.shape[-1:]).reshape(shape)
        if self.config.bias:
            x += self.param('bias', nn.initializers.zeros, x.shape[-1:]).reshape(shape)
        return x.astype(self.dtype)


@registry.register(RMSNormConfig)
class RMSNorm(nn.Module):
    config: RMSNormConfig
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        x = x_BTD.astype(jnp.float32)
        x *= jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + self.config.eps)
        shape, c = (1,) * (x.ndim - 1) + x.shape[-1:], self.config
        start = nn.initializers.constant(1 - c.offset)
        x *= c.offset + self.param('scale', start, x.shape[-1:]).reshape(shape)
        return x.astype(self.dtype)
