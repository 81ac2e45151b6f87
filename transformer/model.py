"""Whole models. B batch, S source length, T length, D width, V vocabulary.

Each has `forward(batch, rows_B, train)` for whole batches, as training and evaluation need it, and
those whose head can score tokens have `unscored`, which leaves the scores to the loss.
Those that write text have `__call__(inputs_BT, ctx, caches)` too, which generation calls.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import heads, mixers, mlps, moe, norms, registry  # noqa: F401  (they register)
from transformer.config import EncoderDecoderConfig, TransformerConfig, VisionConfig
from transformer.context import Context
from transformer.embed import Embed, Tokens
from transformer.patches import Patches
from transformer.stack import Stack

Batch = dict[str, jax.Array]


class Transformer(nn.Module):
    """One stack over tokens: a decoder or an encoder."""

    config: TransformerConfig

    def setup(self):
        c, dtype = self.config, self.config.stack.dtype
        self.tokens = Tokens(c.tokens, dtype)
        self.embed = Embed(c.embed, dtype)
        self.stack = Stack(c.stack)
        if c.head is not None:
            width = c.stack.output or c.stack.width
            self.head = registry.build(c.head, width=width, dtype=dtype)

    def init_cache(self, batch: int, length: int) -> tuple:
        """Empty caches for `batch` rows of up to `length` tokens; no parameters are needed."""
        return Stack(self.config.stack, parent=None).init_cache(batch, length)

    def __call__(self, inputs_BT: jax.Array, ctx: Context, caches: tuple | None = None, types=None):
        """Returns the head's scores (_BTV, _BC ...), new caches, the MLPs' reports."""
        x_BTD, caches, aux = self.hidden(inputs_BT, ctx, caches, types)
        return self.logits(x_BTD, ctx), caches, aux

    def hidden(self, inputs_BT: jax.Array, ctx: Context, caches: tuple | None = None, types=None):
        """Like `__call__`, without the head: x_BTD, caches, reports."""
        x_BTD = self.embed(self.tokens(inputs_BT), ctx, types)
        return self.stack(x_BTD, ctx, caches)

    def logits(self, x_BTD: jax.Array, ctx: Context) -> jax.Array:
        """What the head makes of a stack's output; without a head, the output."""
        return x_BTD if self.config.head is None else self.head(x_BTD, self.tokens, ctx)

    def forward(self, batch: Batch, rows_B: jax.Array | None = None, train: bool = False):
        """Returns the head's scores and what the MLPs report."""
        x_BTD, ctx, aux = self._read(batch, rows_B, train)
        return self.logits(x_BTD, ctx), aux

    def unscored(self, batch: Batch, rows_B: jax.Array | None = None, train: bool = False):
        """Returns what the head makes scores of tokens of, and what the MLPs report."""
        x_BTD, ctx, aux = self._read(batch, rows_B, train)
        return self.head.unscored(x_BTD, self.tokens, ctx), aux

    def _read(self, batch: Batch, rows_B: jax.Array | None, train: bool):
        prefix = batch.get('prefix')
        ctx = Context.of(
            batch['inputs'],
            batch['positions'],
            batch['segment_ids'],
            rows_B,
            prefix_BT=prefix,
            train=train,
        )
        x_BTD, _, aux = self.hidden(batch['inputs'], ctx, None, batch.get('types'))
        return x_BTD, ctx, aux

    def example(self) -> Batch:
        """The smallest batch, for `init`."""
        return _example(self.config.context)


class EncoderDecoder(nn.Module):
    """Two stacks, https://arxiv.org/abs/1706.03762: the second one reads the first."""

    config: EncoderDecoderConfig

    def setup(self):
        c, dtype = self.config, self.config.decoder.dtype
        self.tokens = Tokens(c.tokens, dtype)
        self.encoder_embed = Embed(c.encoder_embed, dtype)
        self.encoder = Stack(c.encoder)
        self.decoder_embed = Embed(c.decoder_embed, dtype)
        self.decoder = Stack(c.decoder)
        if c.head is not None:
            self.head = registry.build(c.head, width=c.decoder.width, dtype=dtype)

    def init_cache(self, batch: int, length: int, memory: int) -> tuple:
        """Empty caches of the decoder for `length` tokens and `memory` slots of the source."""
        return Stack(self.config.decoder, parent=None).init_cache(batch, length, memory)

    def encode(self, inputs_BS: jax.Array, ctx: Context) -> tuple[jax.Array, Any]:
        """Returns the memory_BSD and what the encoder's MLPs report."""
        x_BSD = self.encoder_embed(self.tokens(inputs_BS), ctx)
        memory_BSD, _, aux = self.encoder(x_BSD, ctx)
        return memory_BSD, aux

    def __call__(self, inputs_BT: jax.Array, ctx: Context, caches: tuple | None = None):
        """The decoder: scores_BTV, new caches, reports.

        Args:
          ctx: with the memory; once the caches have seen it, it may be left out.
        """
        x_BTD, caches, aux = self.hidden(inputs_BT, ctx, caches)
        return self.logits(x_BTD, ctx), caches, aux

    def hidden(self, inputs_BT: jax.Array, ctx: Context, caches: tuple | None = None):
        """Like `__call__`, without the head: x_BTD, caches, reports."""
        x_BTD = self.decoder_embed(self.tokens(inputs_BT), ctx)
        return self.decoder(x_BTD, ctx, caches)

    def logits(self, x_BTD: jax.Array, ctx: Context) -> jax.Array:
        """What the head makes of the decoder's output; without a head, the output."""
        return x_BTD if self.config.head is None else self.head(x_BTD, self.tokens, ctx)

    def forward(self, batch: Batch, rows_B: jax.Array | None = None, train: bool = False):
        """Returns scores_BTV and what the MLPs of both stacks report."""
        x_BTD, ctx, aux = self._read(batch, rows_B, train)
        return self.logits(x_BTD, ctx), aux

    def unscored(self, batch: Batch, rows_B: jax.Array | None = None, train: bool = False):
        """Returns what the head makes scores of tokens of, and what the MLPs of both report."""
        x_BTD, ctx, aux = self._read(batch, rows_B, train)
        return self.head.unscored(x_BTD, self.tokens, ctx), aux

    def _read(self, batch: Batch, rows_B: jax.Array | None, train: bool):
        mode = {'rows_B': rows_B, 'train': train}
        source = Context.of(batch['inputs'], batch['positions'], batch['segment_ids'], **mode)
        memory_BSD, encoder_aux = self.encode(batch['inputs'], source)
        target = Context.of(
            batch['decoder_inputs'],
            batch['decoder_positions'],
            batch['decoder_segment_ids'],
            memory_BSD=memory_BSD,
            memory_segments_BS=batch['segment_ids'],
            **mode,
        )
        x_BTD, _, decoder_aux = self.hidden(batch['decoder_inputs'], target)
        return x_BTD, target, (encoder_aux, decoder_aux)

    def example(self) -> Batch:
        """The smallest batch, for `init`."""
        row = _example(min(self.config.context, self.config.target_context))
        return row | {f'decoder_{name}': x for name, x in row.items()}


class Vision(nn.Module):
    """One bidirectional stack over the patches of an image, https://arxiv.org/abs/2010.11929."""

    config: VisionConfig

    def setup(self):
        c = self.config
        self.patches = Patches(c.patches, c.stack.dtype)
        self.stack = Stack(c.stack)
        if c.head is not None:
            self.head = registry.build(c.head, width=c.stack.width, dtype=c.stack.dtype)

    def forward(self, batch: Batch, rows_B: jax.Array | None = None, train: bool = False):
        """Returns scores_BC and what the MLPs report."""
        ctx = self.context(batch['images'], rows_B=rows_B, train=train)
        x_BTD, aux = self.hidden(batch['images'], ctx)
        return self.logits(x_BTD, ctx), aux

    def context(self, images_BIIC: jax.Array, **more) -> Context:
        """The context of images: every patch is seen."""
        return Context.of(jnp.zeros((images_BIIC.shape[0], self.config.patches.length)), **more)

    def hidden(self, images_BIIC: jax.Array, ctx: Context) -> tuple[jax.Array, Any]:
        """The stack's output x_BTD, extra vectors first, and what the MLPs report."""
        x_BTD, _, aux = self.stack(self.patches(images_BIIC, ctx), ctx)
        return x_BTD, aux

    def logits(self, x_BTD: jax.Array, ctx: Context) -> jax.Array:
        """What the head makes of a stack's output; without a head, the output."""
        return x_BTD if self.config.head is None else self.head(x_BTD, None, ctx)

    def example(self) -> Batch:
        """The smallest batch, for `init`."""
        p = self.config.patches
        return {'images': jnp.zeros((1, p.image, p.image, p.channels))}


MODELS = {
    TransformerConfig: Transformer,
    EncoderDecoderConfig: EncoderDecoder,
    VisionConfig: Vision,
}


def make(config: TransformerConfig | EncoderDecoderConfig | VisionConfig) -> nn.Module:
    """The model that `config` describes."""
    return MODELS[type(config)](config)


def _example(context: int) -> Batch:
    T = min(8, context)
    ones_BT = jnp.ones((1, T), jnp.int32)
    places_BT = jnp.arange(T, dtype=jnp.int32)[None]
    return {'inputs': 0 * ones_BT, 'positions': places_BT, 'segment_ids': ones_BT}
