"""Decoder-only language models in the manner of GPT and LLaMA, by a table of choices."""

import dataclasses
from typing import Any

from transformer.config import TransformerConfig
from transformer.heads import POOLS
from transformer.models import assemble
from transformer.models.assemble import Sizes
from transformer.models.options import StackOptions


@dataclasses.dataclass(frozen=True)
class DecoderOptions(StackOptions):
    """`config.model` of the family 'decoder': `StackOptions` and:

    Attributes:
      tied: whether the output head reads the token embedding.
      embed_scale: whether token vectors are multiplied by sqrt(width).
      embed_norm: whether the embedding is normalised.
      softcap: of the output scores: cap * tanh(scores / cap); 0 means they stay.
      pool: what a class is read from, a key of `heads.POOLS`.
    """

    family: str = 'decoder'
    tied: bool = True
    embed_scale: bool = False
    embed_norm: bool = False
    softcap: float = 0.0
    pool: str = 'last'

    def __post_init__(self):
        super().__post_init__()
        self._require('pool', self.pool in POOLS, f'one of {", ".join(POOLS)}')

    def fits(self, objective: Any) -> bool:
        """Next tokens; and classes, in the place of an encoder, as GPT-1 learns them."""
        return super().fits(objective) or (
            objective.SHAPE == 'encoder' and objective.HEAD in ('class', 'token_class')
        )

    def build(self, sizes: Sizes) -> TransformerConfig:
        """The model."""
        return TransformerConfig(
            tokens=assemble.tokens(self, sizes.vocab, scale=self.embed_scale),
            embed=assemble.embed(self, sizes.context, norm=self.embed_norm, scale=self.embed_scale),
            stack=assemble.stack(self, sizes, causal=True),
            head=assemble.head(self, sizes, tied=self.tied, softcap=self.softcap, pool=self.pool),
            context=sizes.context,
        )
