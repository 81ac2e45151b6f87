"""The choices that all families share. `assemble.py` makes a stack of blocks of them.

`config.model` is one of the families' options; each extends `StackOptions` by what is its own.
"""

import dataclasses
import math
from typing import Any

from transformer import mixers, registry  # noqa: F401  (importing mixers registers their names)
from transformer.config import InitConfig
from transformer.errors import ConfigError
from transformer.mlps import ACTIVATIONS
from transformer.norms import LayerNormConfig, NoNormConfig, RMSNormConfig
from transformer.ops.attention import BACKENDS
from transformer.ops.rotary import NTK, Linear, Llama3, Yarn
from transformer.positions import RotaryConfig
from transformer.residuals import RESIDUALS

NORMS = {
    'layernorm': LayerNormConfig(),
    'layernorm_no_bias': LayerNormConfig(bias=False),
    'rmsnorm': RMSNormConfig(),
    'none': NoNormConfig(),
}
# name: (activation, whether there is a gate); 'none' leaves the MLP out
MLPS = {name: (name, False) for name in ACTIVATIONS} | {
    'reglu': ('relu', True),
    'geglu': ('gelu', True),
    'geglu_tanh': ('gelu_tanh', True),
    'swiglu': ('silu', True),
    'none': ('', False),
}
SCALINGS = {
    'none': lambda o: None,
    'linear': lambda o: Linear(o.rope_factor),
    'ntk': lambda o: NTK(o.rope_factor),
    'yarn': lambda o: Yarn(o.rope_factor, o.rope_context),
    'llama3': lambda o: Llama3(o.rope_factor, original_context=o.rope_context),
}
# Positions of tokens: those that are added to the embedding, and those that attention uses.
POSITIONS = ('rope', 'learned', 'sinusoidal', 'alibi', 't5', 'none')
BIDIRECTIONAL = ('attention', 'global')  # mixers that may see what comes later


def _attends(options) -> bool:
    return any(name in BIDIRECTIONAL for name in options.mixers)


# Fields that mean nothing without another choice: what they need, and whether it is there.
NEEDS = {
    ('rope_theta', 'rope_scaling'): ("positions='rope'", lambda o: o.positions == 'rope'),
    ('rope_factor',): ('rope_scaling', lambda o: o.rope_scaling != 'none'),
    ('rope_context',): (
        "rope_scaling='yarn' or 'llama3'",
        lambda o: o.rope_scaling in ('yarn', 'llama3'),
    ),
    ('kv_heads', 'attention_scale', 'attention_softcap', 'qk_norm', 'attention'): (
        'attention among its mixers',
        _attends,
    ),
    ('window',): ("'attention' among its mixers", lambda o: 'attention' in o.mixers),
    ('hidden',): ('an mlp', lambda o: o.mlp != 'none'),
    ('norm_eps',): ('a norm', lambda o: o.norm != 'none'),
    (
        'top_k',
        'expert_capacity',
        'expert_every',
        'expert_normalize',
        'expert_balance',
        'expert_z',
        'expert_jitter',
    ): ('experts', lambda o: o.experts > 0),
    ('expert_groups',): ('expert_capacity', lambda o: o.experts > 0 and o.expert_capacity > 0),
    ('mamba_state', 'mamba_conv', 'mamba_expand'): (
        "'mamba' among its mixers",
        lambda o: 'mamba' in o.mixers,
    ),
}


@dataclasses.dataclass(frozen=True)
class StackOptions:
    """Attributes:

    family: which options these are, a key of `models.FAMILIES`.
    width: D, width of the residual stream.
    depth: number of layers.
    heads: query heads.
    kv_heads: key/value heads; 0 means as many as heads.
    head_width: H; 0 means width / heads.
    hidden: F, hidden width of the MLP; 0 means 4 * width, and 8/3 * width with a gate.
    mixers: what moves information between positions, layer by layer, repeated over the depth: names
      of registered mixers such as 'attention', 'global' (without the window), 'mamba'.
    mlp: activation of the hidden units and whether they have a gate, a key of `MLPS`.
    norm: of the stream, a key of `NORMS`.
    norm_eps: added to the variance; 0 means the norm's own default.
    residual: where norms stand beside the branches, a key of `residuals.RESIDUALS`.
    positions: how a model knows where a token stands, one of `POSITIONS`.
    rope_theta: base of the rotary frequencies.
    rope_scaling: how rotary positions stretch beyond the trained context, a key of `SCALINGS`.
    rope_factor: by how much.
    rope_context: context before stretching, for 'yarn' and 'llama3'.
    window: positions back that a query sees, itself included; 0 means all.
    attention_scale: factor on the scores; 0 means 1 / sqrt(head_width).
    attention_softcap: scores become cap * tanh(scores / cap); 0 means they stay.
    qk_norm: whether queries and keys are normalised (RMS).
    bias: whether linear maps have biases.
    shared: whether all layers use one set of parameters.
    dropout: share dropped of the embedding, of every branch and of the attention weights.
    drop_path: chance that a row skips a branch of the last layer.
    init_std: standard deviation of fresh kernels; 0 means 1 / sqrt(fan-in).
    init_residual: factor on those that write into the residual stream; 0 means 1 / sqrt(2 * depth).
    attention: what computes it; 'auto' chooses, a key of `ops.attention.BACKENDS`.
    experts: E, MLPs to choose from; 0 means one MLP for all tokens.
    top_k: experts a token goes to.
    expert_capacity: tokens an expert takes, as a multiple of its even share; 0 means all that come.
    expert_groups: parts of a (micro)batch's rows that have their even shares each, see
      `moe.MoEConfig`.
    expert_every: layers from one with experts to the next.
    expert_normalize: whether the chosen experts' weights are scaled to sum to 1.
    expert_balance: weight of the loss that keeps experts evenly loaded.
    expert_z: weight of the loss that keeps the router's scores small.
    expert_jitter: in training the router's input is multiplied by noise from 1 - jitter to
      1 + jitter.
    mamba_state: numbers of the state for each channel of a Mamba layer.
    mamba_conv: places that its convolution sees.
    mamba_expand: its inner width as a multiple of `width`.
    """

    family: str = ''
    width: int = 256
    depth: int = 4
    heads: int = 4
    kv_heads: int = 0
    head_width: int = 0
    hidden: int = 0
    mixers: tuple[str, ...] = ('attention',)
    mlp: str = 'gelu'
    norm: str = 'rmsnorm'
    norm_eps: float = 0.0
    residual: str = 'pre'
    positions: str = 'rope'
    rope_theta: float = 10_000.0
    rope_scaling: str = 'none'
    rope_factor: float = 8.0
    rope_context: int = 8192
    window: int = 0
    attention_scale: float = 0.0
    attention_softcap: float = 0.0
    qk_norm: bool = False
    bias: bool = False
    shared: bool = False
    dropout: float = 0.0
    drop_path: float = 0.0
    init_std: float = 0.02
    init_residual: float = 0.0
    attention: str = 'auto'
    experts: int = 0
    top_k: int = 1
    expert_capacity: float = 0.0
    expert_groups: int = 1
    expert_every: int = 1
    expert_normalize: bool = False
    expert_balance: float = 0.01
    expert_z: float = 0.001
    expert_jitter: float = 0.0
    mamba_state: int = 16
    mamba_conv: int = 4
    mamba_expand: int = 2

    POSITIONS = POSITIONS
    CAUSAL = True

    def __post_init__(self):
        for name in ('width', 'depth', 'heads', 'top_k', 'expert_groups', 'expert_every'):
            self._require(name, getattr(self, name) > 0, 'a whole number above 0')
        for name in ('mamba_state', 'mamba_conv', 'mamba_expand', 'rope_context'):
            self._require(name, getattr(self, name) > 0, 'a whole number above 0')
        for field in dataclasses.fields(self):
            if field.type in (int, float):
                value = getattr(self, field.name)
                holds = value >= 0 and math.isfinite(value)
                self._require(field.name, holds, 'a number of at least 0')
        for name, known in (
            ('mlp', MLPS),
            ('norm', NORMS),
            ('residual', RESIDUALS),
            ('positions', self.POSITIONS),
            ('rope_scaling', SCALINGS),
            ('attention', ('auto', *BACKENDS)),
        ):
            self._require(name, getattr(self, name) in known, f'one of {", ".join(known)}')
        for name in ('dropout', 'drop_path'):
            self._require(name, 0 <= getattr(self, name) < 1, 'a number from 0 to below 1')
        for name in ('rope_theta', 'rope_factor'):
            self._require(name, getattr(self, name) > 0, 'a number above 0')
        if self.experts:
            self._require('top_k', self.top_k <= self.experts, f'at most experts={self.experts}')
            self._require('mlp', self.mlp != 'none', 'an MLP: experts need one')
        self._check_heads()
        self._check_pattern()

    def _check_heads(self) -> None:
        if not self.head_width:
            near = max(1, round(self.width / self.heads)) * self.heads
            accepted = f'a multiple of config.model.heads={self.heads}, such as {near}'
            self._require('width', self.width % self.heads == 0, accepted)
        divisors = [n for n in range(1, self.heads + 1) if self.heads % n == 0]
        accepted = f'a divisor of config.model.heads={self.heads}: {divisors}, or 0'
        self._require('kv_heads', self.kv_heads in (0, *divisors), accepted)
        if self.positions == 'sinusoidal':
            self._require('width', self.width % 2 == 0, 'an even number for sines and cosines')
        if self.positions == 'rope':
            H = self.head_width or self.width // self.heads
            name = 'head_width' if self.head_width else 'width'
            self._require(name, H % 2 == 0, f'an even width per head for rope (now {H})')

    def _check_pattern(self) -> None:
        known = registry.names()
        self._require('mixers', len(self.mixers) > 0, 'at least one name')
        for name in self.mixers:
            self._require('mixers', name in known, f'names among {", ".join(known)}')
            causal_only = not self.CAUSAL and name not in BIDIRECTIONAL
            self._require('mixers', not causal_only, f'{", ".join(BIDIRECTIONAL)} in an encoder')
        holds = _attends(self) or self.positions not in ('rope', 'alibi', 't5')
        self._require('positions', holds, "'none', as config.model.mixers have no attention")
        self._check_needs()
        length = self.pattern_length()
        accepted = f'a multiple of {length}, the length of the pattern of layers'
        self._require('depth', self.depth % length == 0, accepted)

    def _check_needs(self) -> None:
        """Nothing is asked of a part that is not there."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for names, (needed, holds) in NEEDS.items():
            for name in () if holds(self) else names:
                unused = getattr(self, name) == defaults[name]
                self._require(name, unused, f'{defaults[name]!r}, unless config.model has {needed}')

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ConfigError(f'model.{name}', getattr(self, name), accepted)

    def fits(self, objective: Any) -> bool:
        """Whether models of this family can be trained so."""
        return self.family == objective.SHAPE

    def pattern_length(self) -> int:
        """Layers until mixers and MLPs repeat."""
        return math.lcm(len(self.mixers), self.expert_every if self.experts else 1)

    @property
    def init(self) -> InitConfig:
        """How kernels start."""
        return InitConfig(self.init_std, self.init_residual or (2 * self.depth) ** -0.5)

    @property
    def norm_config(self) -> LayerNormConfig | RMSNormConfig | NoNormConfig:
        """The norm, with its epsilon."""
        norm = NORMS[self.norm]
        return dataclasses.replace(norm, eps=self.norm_eps) if self.norm_eps else norm

    @property
    def rotary(self) -> RotaryConfig | None:
        """How attention turns queries and keys."""
        if self.positions != 'rope':
            return None
        return RotaryConfig(self.rope_theta, SCALINGS[self.rope_scaling](self))
