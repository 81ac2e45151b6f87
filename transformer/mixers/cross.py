"""Attention to an encoder's output, https://arxiv.org/abs/1706.03762.

B batch, T query length, S slots of the memory, D width, K key/value heads, H head width.
"""

import dataclasses

import jax

from transformer import registry
from transformer.context import Context
from transformer.mixers.attention import AttentionCache, AttentionConfig, Heads
from transformer.ops.masks import Mask


@dataclasses.dataclass(frozen=True)
class CrossAttentionConfig(AttentionConfig):
    """As `AttentionConfig`; `rotary` and `window` have no meaning between two sequences.

    Raises:
      ValueError: one of them is given.
    """

    def __post_init__(self):
        for name in ('rotary', 'window'):
            if getattr(self, name) is not None:
                value = getattr(self, name)
                raise ValueError(f'cross attention: {name}={value!r} is undefined; accepted: None')

    @classmethod
    def of(cls, options) -> 'CrossAttentionConfig':
        """From the options of a family."""
        own = AttentionConfig.of(options)
        fields = {f.name: getattr(own, f.name) for f in dataclasses.fields(own)}
        return cls(**fields | {'rotary': None, 'window': None})


@registry.register(CrossAttentionConfig)
class CrossAttention(Heads):
    """Queries from the sequence, keys and values from `ctx.memory_BSD`, once for a whole text."""

    def init_cache(self, batch: int, length: int) -> AttentionCache:
        """An empty cache of `length` slots of memory."""
        return AttentionCache.empty(self.config, batch, length, self.dtype)

    def __call__(
        self, x_BTD: jax.Array, ctx: Context, cache: AttentionCache | None = None
    ) -> tuple[jax.Array, AttentionCache | None]:
        """Returns y_BTD, and the cache with the memory's keys and values.

        Where the context has a memory, it is read; otherwise the cache is.

        Raises:
          ValueError: there is neither.
        """
        if ctx.memory_BSD is not None:
            k_BKSH, v_BKSH = self.keys_values(ctx.memory_BSD)
            segments_BS = ctx.memory_segments_BS
            if cache is not None:
                cache = cache.replace(k_BKSH=k_BKSH, v_BKSH=v_BKSH, segments_BS=segments_BS)
        elif cache is not None:
            k_BKSH, v_BKSH, segments_BS = cache.k_BKSH, cache.v_BKSH, cache.segments_BS
        else:
            raise ValueError('cross attention needs ctx.memory_BSD or a cache that has seen it')
        mask = Mask(ctx.segments_BT, segments_BS)
        return self.attend(self.queries(x_BTD), k_BKSH, v_BKSH, mask, ctx), cache
