"""From tokens to the residual stream. B batch, T length, V vocabulary, E token width, D width."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.config import EmbedConfig, TokensConfig
from transformer.context import Context
from transformer.layers import Dropout, Linear


class Tokens(nn.Module):
    """The table of token vectors, read from both sides."""

    config: TokensConfig
    dtype: str = 'float32'

    def setup(self):
        c = self.config
        start = nn.initializers.normal(c.init.std or c.width**-0.5)
        self.table_VE = self.param('table', start, (c.vocab, c.width))

    def __call__(self, inputs_BT: jax.Array) -> jax.Array:
        """The vectors of tokens, [B, T, E]."""
        return self.vectors()[inputs_BT]

    def vectors(self) -> jax.Array:
        """The vectors of all tokens, [V, E]."""
        return self.table_VE.astype(self.dtype)


class Embed(nn.Module):
    """scale * token + position + type, then norm, dropout and a projection, those that are set."""

    config: EmbedConfig
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTE: jax.Array, ctx: Context, types_BT: jax.Array | None = None):
        """Returns x_BTD.

        Args:
          types_BT: int32 type of each token; None means 0 for all.
        """
        c, E = self.config, x_BTE.shape[-1]
        x_BTE = x_BTE * jnp.asarray(c.scale, x_BTE.dtype)
        if c.positions is not None and not c.positions_last:
            x_BTE += self._places(E, ctx)
        if c.types:
            start = nn.initializers.normal(c.init.std or E**-0.5)
            table_YE = self.param('types', start, (c.types, E)).astype(self.dtype)
            x_BTE += table_YE[:1][None] if types_BT is None else table_YE[types_BT]
        project = lambda x: x  # noqa: E731
        if c.width != E or c.project:
            how = {'bias': c.project_bias, 'dtype': self.dtype, 'name': 'project'}
            project = Linear('bte,ed->btd', (E, c.width), c.init, **how)
        x = project(x_BTE) if c.project_first else x_BTE
        if c.norm is not None:
            x = registry.build(c.norm, dtype=self.dtype, name='norm')(x)
        x = Dropout(c.dropout)(x, ctx)
        x = x if c.project_first else project(x)
        return x + self._places(c.width, ctx) if c.positions_last else x

    def _places(self, width: int, ctx: Context) -> jax.Array:
        config = self.config.positions
        place = registry.build(config, width=width, dtype=self.dtype, name='positions')
        return place(ctx.positions_BT)
