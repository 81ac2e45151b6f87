"""Encoders in the manner of BERT, by a table of choices."""

import dataclasses

from transformer.config import TransformerConfig
from transformer.heads import POOLS
from transformer.mlps import ACTIVATIONS
from transformer.models import assemble
from transformer.models.assemble import Sizes
from transformer.models.options import StackOptions


@dataclasses.dataclass(frozen=True)
class EncoderOptions(StackOptions):
    """`config.model` of the family 'encoder': `StackOptions` and:

    Attributes:
      types: token types, such as sentence A and B; 0 means none.
      embed_norm: whether the embedding is normalised.
      token_width: E, width of the token vectors; 0 means `width`. ALBERT's is smaller.
      position_offset: rows at the start of a learned table that no place uses; RoBERTa has 2.
      pool: what a class is read from, a key of `heads.POOLS`.
      pooler: activation of a dense layer before the classes; '' means no such layer.
    """

    family: str = 'encoder'
    types: int = 0
    embed_norm: bool = True
    token_width: int = 0
    position_offset: int = 0
    pool: str = 'first'
    pooler: str = 'tanh'

    CAUSAL = False

    def __post_init__(self):
        super().__post_init__()
        holds = self.positions == 'learned' or not self.position_offset
        self._require('position_offset', holds, "0, unless config.model.positions='learned'")
        self._require('pool', self.pool in POOLS, f'one of {", ".join(POOLS)}')
        known = ('', *ACTIVATIONS)
        self._require('pooler', self.pooler in known, f'one of {", ".join(map(repr, known))}')

    def build(self, sizes: Sizes) -> TransformerConfig:
        """The model."""
        embed = assemble.embed(self, sizes.context, norm=self.embed_norm, types=self.types)
        if self.positions == 'learned':
            places = dataclasses.replace(embed.positions, offset=self.position_offset)
            embed = dataclasses.replace(embed, positions=places)
        return TransformerConfig(
            tokens=assemble.tokens(self, sizes.vocab, self.token_width),
            embed=embed,
            stack=assemble.stack(self, sizes, causal=False),
            head=assemble.head(
                self, sizes, pool=self.pool, pooler=self.pooler, token_width=self.token_width
            ),
            context=sizes.context,
        )
