"""What a model is: a pattern of blocks, repeated. Frozen dataclasses, nested as the modules nest.

The component configs (`mixer`, `mlp`, `norm`, `positions`) live beside their modules; here they are
only held. The type of each picks its module through `transformer.registry`.
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
    """One residual block: x + mixer(norm(x)), then x + mlp(norm(x)).

    Attributes:
      mixer: config of what moves information between positions.
      mlp: config of what works on each position alone.
      norm: config of the normalisation before each.
      dropout: share of each branch's output that is dropped in training.
    """

    mixer: Any
    mlp: Any
    norm: Any
    dropout: float = 0.0


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """A model over tokens.

    Attributes:
      vocab: V, number of tokens.
      width: D, width of the residual stream.
      context: longest sequence, in tokens, that the model is trained on.
      pattern: the blocks that are repeated.
      repeats: how often the pattern is repeated; layers = repeats * len(pattern).
      norm: config of the last normalisation.
      positions: config of position vectors added to the embedding, or None.
      tied: whether the output head reads the token embedding.
      init: how the embedding and the head start.
      dropout: share of the embedding that is dropped in training.
      dtype: type of activations and matrix products; parameters stay float32.
      remat: what the backward pass recomputes, a key of `blocks.REMAT`.
      unroll: repeats per step of the scan over depth; `repeats` is a straight line.
    """

    vocab: int
    width: int
    context: int
    pattern: tuple[BlockConfig, ...]
    repeats: int
    norm: Any
    positions: Any = None
    tied: bool = True
    init: InitConfig = InitConfig()
    dropout: float = 0.0
    dtype: str = 'float32'
    remat: str = 'none'
    unroll: int = 1

    @property
    def layers(self) -> int:
        """L, number of blocks."""
        return self.repeats * len(self.pattern)
