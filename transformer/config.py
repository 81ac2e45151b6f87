"""What a model is: a pattern of blocks, repeated. Frozen dataclasses, nested as the modules nest.

The component configs (`mixer`, `mlp`, `norm`, `positions`, `head`) live beside their modules; here
they are only held. The type of each picks its module through `transformer.registry`.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """How kernels start.

    Attributes:
      std: standard deviation of the normal distribution; 0 means 1 / sqrt(fan-in).
      residual: factor on the kernels that write into the residual stream; GPT-2 uses
        1 / sqrt(2 * layers), https://openai.com/index/better-language-models.
    """

    std: float = 0.02
    residual: float = 1.0


@dataclasses.dataclass(frozen=True)
class BlockConfig:
    """One residual block: a mixer, attention to an encoder's output, an MLP, those that are set.

    Attributes:
      mixer: config of what moves information between positions.
      mlp: config of what works on each position alone.
      norm: config of every normalisation in the block.
      cross: config of the attention to the memory.
      residual: how branches and norms meet the residual stream, a key of `residuals.RESIDUALS`.
      dropout: share of each branch's output that is dropped in training.
      drop_path: chance that a row skips a branch of the last layer; it grows linearly from 0 at the
        first, https://arxiv.org/abs/1603.09382.
      join: config of what makes the block's output of its input and what its branches made of it,
        such as `mixers.disentangled.ConvolutionConfig`, or None.
      mixer_dropout: `dropout` of the mixer's branch, where it is another; None means the same.
    """

    mixer: Any
    mlp: Any
    norm: Any
    cross: Any = None
    residual: str = 'pre'
    dropout: float = 0.0
    drop_path: float = 0.0
    join: Any = None
    mixer_dropout: float | None = None


@dataclasses.dataclass(frozen=True)
class StackConfig:
    """A pattern of blocks, repeated over depth.

    Attributes:
      width: D, width of the residual stream.
      pattern: the blocks that are repeated.
      repeats: how often the pattern is repeated; layers = repeats * len(pattern).
      norm: config of the normalisation after the last block, or None.
      causal: whether a token sees only itself and what came before.
      relative: config of what is added to the scores of all self-attention, or None.
      shared: whether all repeats use one set of parameters, https://arxiv.org/abs/1909.11942.
      groups: sets of parameters where they are shared: repeat r uses set r * groups // repeats.
      output: width of a linear map after the norm, as the 350M model of OPT has; 0 means none.
      dropout: share of the stack's output that is dropped in training, as T5 does.
      dtype: type of activations and matrix products; parameters stay float32.
      remat: what the backward pass recomputes, a key of `stack.REMAT`.
      unroll: repeats per step of the scan over depth; `repeats` is a straight line.
      apart: whether each repeat has parameters and caches of its own, and no scan stacks them: for
        writing text, see `writer.py`.
      rounds: in a pipeline, groups of layers that each stage holds (`schedule.py`).
      microbatches: into how many a pipeline divides the rows that it is given, as far as it can.
    """

    width: int
    pattern: tuple[BlockConfig, ...]
    repeats: int
    norm: Any = None
    causal: bool = True
    relative: Any = None
    shared: bool = False
    groups: int = 1
    output: int = 0
    dropout: float = 0.0
    dtype: str = 'float32'
    remat: str = 'none'
    unroll: int = 1
    apart: bool = False
    rounds: int = 1
    microbatches: int = 1

    def __post_init__(self):
        most = self.repeats if self.shared else 1
        if not 1 <= self.groups <= most:
            raise ValueError(f'groups={self.groups} cannot be used; accepted: 1 to {most}')

    @property
    def layers(self) -> int:
        """L, number of blocks."""
        return self.repeats * len(self.pattern)

    @property
    def sets(self) -> int:
        """Sets of parameters that the repeats have: repeat r uses set r * sets // repeats."""
        return self.groups if self.shared else self.repeats


@dataclasses.dataclass(frozen=True)
class TokensConfig:
    """The table of token vectors; the output head may read it too.

    Attributes:
      vocab: V, number of tokens.
      width: E, width of a vector.
      init: how the table starts.
    """

    vocab: int
    width: int
    init: InitConfig = InitConfig()


@dataclasses.dataclass(frozen=True)
class EmbedConfig:
    """From token vectors to the residual stream.

    Attributes:
      width: D, width of the residual stream; a projection follows where the vectors have another.
      positions: config of position vectors that are added, or None.
      types: number of token types (BERT's sentence A and B); 0 means none.
      norm: config of a normalisation of the sum, or None.
      scale: factor on the token vectors; sqrt(D) in the original Transformer.
      dropout: share that is dropped in training.
      project: whether a projection follows even where the widths are the same.
      project_bias: whether the projection has one.
      project_first: whether norm and dropout come after the projection and not before it.
      positions_last: whether positions are added at the end, and not to the tokens' own vectors.
    """

    width: int
    positions: Any = None
    types: int = 0
    norm: Any = None
    scale: float = 1.0
    dropout: float = 0.0
    init: InitConfig = InitConfig()
    project: bool = False
    project_bias: bool = True
    project_first: bool = False
    positions_last: bool = False


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """A model of one stack over tokens: a decoder or an encoder.

    Attributes:
      context: longest sequence, in tokens, that the model is trained on.
      head: config of what reads the stack's output, or None.
    """

    tokens: TokensConfig
    embed: EmbedConfig
    stack: StackConfig
    head: Any
    context: int


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """A model of one bidirectional stack over the patches of an image.

    Attributes:
      patches: `patches.PatchesConfig`.
    """

    patches: Any
    stack: StackConfig
    head: Any


@dataclasses.dataclass(frozen=True)
class EncoderDecoderConfig:
    """Two stacks over one table of tokens; the decoder attends to the encoder's output.

    Attributes:
      context: longest source sequence that the model is trained on.
      target_context: longest target sequence.
    """

    tokens: TokensConfig
    encoder_embed: EmbedConfig
    encoder: StackConfig
    decoder_embed: EmbedConfig
    decoder: StackConfig
    head: Any
    context: int
    target_context: int
