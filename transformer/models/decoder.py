"""Decoder-only language models in the manner of GPT-2 and LLaMA, by a table of choices."""

import dataclasses

from transformer.blocks import REMAT
from transformer.config import BlockConfig, InitConfig, TransformerConfig
from transformer.errors import ConfigError
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import ACTIVATIONS, MLPConfig
from transformer.norms import LayerNormConfig, RMSNormConfig
from transformer.ops.attention import BACKENDS
from transformer.positions import LearnedConfig, RotaryConfig

NORMS = {
    'layernorm': LayerNormConfig(),
    'layernorm_no_bias': LayerNormConfig(bias=False),
    'rmsnorm': RMSNormConfig(),
}
# name: (activation, whether there is a gate)
MLPS = {name: (name, False) for name in ACTIVATIONS} | {
    'swiglu': ('silu', True),
    'geglu': ('gelu', True),
}
POSITIONS = ('rope', 'learned', 'none')


@dataclasses.dataclass(frozen=True)
class DecoderOptions:
    """`config.model` of the family 'decoder'.

    Attributes:
      family: 'decoder'.
      width: D, width of the residual stream.
      depth: number of layers.
      heads: query heads.
      kv_heads: key/value heads; 0 means as many as heads.
      head_width: H; 0 means width / heads.
      hidden: F, hidden width of the MLP; 0 means 4 * width, and 8/3 * width with a gate.
      mlp: a key of `MLPS`.
      norm: a key of `NORMS`.
      positions: 'rope', 'learned' or 'none'.
      rope_theta: base of the rotary frequencies.
      window: positions back that a query sees, itself included; 0 means all.
      bias: whether linear maps have biases.
      tied: whether the output head reads the token embedding.
      dropout: share dropped of the embedding, of every branch and of the attention weights.
      init_std: standard deviation of fresh kernels; 0 means 1 / sqrt(fan-in).
      attention: a key of `ops.attention.BACKENDS`.
    """

    family: str = 'decoder'
    width: int = 256
    depth: int = 4
    heads: int = 4
    kv_heads: int = 0
    head_width: int = 0
    hidden: int = 0
    mlp: str = 'gelu'
    norm: str = 'rmsnorm'
    positions: str = 'rope'
    rope_theta: float = 10_000.0
    window: int = 0
    bias: bool = False
    tied: bool = True
    dropout: float = 0.0
    init_std: float = 0.02
    attention: str = 'reference'

    def __post_init__(self):
        for name in ('width', 'depth', 'heads'):
            self._require(name, getattr(self, name) > 0, 'a whole number above 0')
        for name in ('kv_heads', 'head_width', 'hidden', 'window', 'init_std'):
            self._require(name, getattr(self, name) >= 0, 'a number of at least 0')
        for name, known in (
            ('mlp', MLPS),
            ('norm', NORMS),
            ('positions', POSITIONS),
            ('attention', BACKENDS),
        ):
            self._require(name, getattr(self, name) in known, f'one of {", ".join(known)}')
        self._require('dropout', 0 <= self.dropout < 1, 'a number from 0 to below 1')
        self._require('rope_theta', self.rope_theta > 0, 'a number above 0')
        if not self.head_width:
            near = max(1, round(self.width / self.heads)) * self.heads
            accepted = f'a multiple of config.model.heads={self.heads}, such as {near}'
            self._require('width', self.width % self.heads == 0, accepted)
        divisors = [n for n in range(1, self.heads + 1) if self.heads % n == 0]
        accepted = f'a divisor of config.model.heads={self.heads}: {divisors}, or 0'
        self._require('kv_heads', self.kv_heads in (0, *divisors), accepted)
        if self.positions == 'rope':
            H = self.head_width or self.width // self.heads
            name = 'head_width' if self.head_width else 'width'
            self._require(name, H % 2 == 0, f'an even width per head for rope (now {H})')
        if self.attention != 'reference':
            self._require(
                'dropout', not self.dropout, "0, unless config.model.attention='reference'"
            )

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ConfigError(f'model.{name}', getattr(self, name), accepted)

    def build(
        self, vocab: int, context: int, *, dtype: str, remat: str, unroll: int
    ) -> TransformerConfig:
        """The model for `vocab` tokens and rows of `context`.

        Args:
          dtype: of activations and matrix products.
          remat: a key of `blocks.REMAT`.
          unroll: layers per step of the scan over depth; 0 means all.
        """
        if remat not in REMAT:
            raise ConfigError('remat', remat, f'one of {", ".join(REMAT)}')
        init = InitConfig(std=self.init_std, residual=(2 * self.depth) ** -0.5)
        activation, gated = MLPS[self.mlp]
        norm = NORMS[self.norm]
        mixer = AttentionConfig(
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            head_width=self.head_width or self.width // self.heads,
            rotary=RotaryConfig(self.rope_theta) if self.positions == 'rope' else None,
            window=self.window or None,
            bias=self.bias,
            dropout=self.dropout,
            backend=self.attention,
            init=init,
        )
        mlp = MLPConfig(
            hidden=self.hidden or (self.width * 8 // 3 if gated else 4 * self.width),
            activation=activation,
            gated=gated,
            bias=self.bias,
            init=init,
        )
        return TransformerConfig(
            vocab=vocab,
            width=self.width,
            context=context,
            pattern=(BlockConfig(mixer, mlp, norm, self.dropout),),
            repeats=self.depth,
            norm=norm,
            positions=LearnedConfig(context, init) if self.positions == 'learned' else None,
            tied=self.tied,
            init=init,
            dropout=self.dropout,
            dtype=dtype,
            remat=remat,
            unroll=unroll or self.depth,
        )
