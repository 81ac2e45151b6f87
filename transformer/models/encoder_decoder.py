"""Encoder-decoders: the original Transformer, T5, BART, by a table of choices."""

import dataclasses

from transformer.config import EncoderDecoderConfig
from transformer.models import assemble
from transformer.models.assemble import Sizes
from transformer.models.options import StackOptions


@dataclasses.dataclass(frozen=True)
class EncoderDecoderOptions(StackOptions):
    """`config.model` of the family 'encoder_decoder': `StackOptions`, `depth` that of the encoder,
    and:

    Attributes:
      decoder_depth: layers of the decoder; 0 means as many as the encoder has.
      tied: whether the output head reads the token embedding.
      head_scale: whether the head's input is divided by sqrt(width), as T5 does where it is tied.
      embed_scale: whether token vectors are multiplied by sqrt(width).
      embed_norm: whether both embeddings are normalised.
      position_offset: rows at the start of a learned table that no place uses; BART has 2.
      stack_dropout: whether both stacks' outputs have dropout, as T5's do.
    """

    family: str = 'encoder_decoder'
    positions: str = 't5'
    decoder_depth: int = 0
    tied: bool = True
    head_scale: bool = False
    embed_scale: bool = False
    embed_norm: bool = False
    position_offset: int = 0
    stack_dropout: bool = False

    # ALiBi says nothing of the distance between two sequences.
    POSITIONS = ('rope', 'learned', 'sinusoidal', 't5', 'none')
    CAUSAL = False

    def __post_init__(self):
        super().__post_init__()
        holds = self.positions == 'learned' or not self.position_offset
        self._require('position_offset', holds, "0, unless config.model.positions='learned'")
        length = self.pattern_length()
        accepted = f'a multiple of {length}, the length of the pattern of layers, or 0'
        self._require('decoder_depth', self.decoder_depth % length == 0, accepted)

    def build(self, sizes: Sizes) -> EncoderDecoderConfig:
        """The model."""
        target_context = sizes.target_context or sizes.context
        dropout = {'dropout': self.dropout if self.stack_dropout else 0.0}
        return EncoderDecoderConfig(
            tokens=assemble.tokens(self, sizes.vocab, scale=self.embed_scale),
            encoder_embed=self._embed(sizes.context),
            encoder=assemble.stack(self, sizes, causal=False, **dropout),
            decoder_embed=self._embed(target_context),
            decoder=assemble.stack(
                self, sizes, causal=True, cross=True, depth=self.decoder_depth, **dropout
            ),
            head=assemble.head(
                self, sizes, tied=self.tied, scale=self.width**-0.5 if self.head_scale else 1.0
            ),
            context=sizes.context,
            target_context=target_context,
        )

    def _embed(self, context: int):
        embed = assemble.embed(self, context, norm=self.embed_norm, scale=self.embed_scale)
        if self.positions != 'learned':
            return embed
        places = dataclasses.replace(embed.positions, offset=self.position_offset)
        return dataclasses.replace(embed, positions=places)
