"""Rotary positions as config.json describes them: `rope_parameters`, before version 5 `rope_theta`
and `rope_scaling`.
"""

import dataclasses
from typing import Any

from transformer.errors import UserError
from transformer.hf.settings import Settings, refusal
from transformer.ops.rotary import Dynamic, Linear, Llama3, LongRope, Proportional, Scaling, Yarn
from transformer.positions import RotaryConfig

# What each kind must say, and all that any of them may: what their kind does not read the original
# passes over, too. 'finetuned' is a remark.
NEEDS = {
    'default': (),
    'linear': ('factor',),
    'dynamic': ('factor',),
    'yarn': ('factor',),
    'longrope': ('short_factor', 'long_factor'),
    'llama3': ('factor', 'low_freq_factor', 'high_freq_factor'),
    'proportional': (),
}
KNOWN = frozenset(
    {
        'rope_theta',
        'rope_type',
        'type',
        'partial_rotary_factor',
        'factor',
        'original_max_position_embeddings',
        'attention_factor',
        'beta_fast',
        'beta_slow',
        'mscale',
        'mscale_all_dim',
        'truncate',
        'short_factor',
        'long_factor',
        'low_freq_factor',
        'high_freq_factor',
        'finetuned',
    }
)


def rotary(
    s: Settings,
    head_width: int,
    *,
    theta: float = 1e4,
    length: int = 2048,
    share: float | None = 1.0,
    **more,
) -> RotaryConfig:
    """How queries and keys are turned.

    Args:
      theta: base of the frequencies where the file does not say.
      length: `max_position_embeddings` where the file does not say.
      share: how much of each head is turned where the file does not say; None means that the
        family always turns all of it.
      **more: other fields of `RotaryConfig`.

    Raises:
      UserError: a kind or a field that is not known, one that is missing or cannot be used.
    """
    given = _Given.of(s)
    base = given.number('rope_theta', s.get('rope_theta', theta))
    otherwise = 1.0 if share is None else share
    part = s.first(('partial_rotary_factor',), otherwise)
    part = given.number('partial_rotary_factor', part)
    scaling = _scaling(s, given, s.size('max_position_embeddings', length), part, head_width)
    if isinstance(scaling, Proportional) or part == 1:  # the first turns a part by itself
        return RotaryConfig(base, scaling, None, **more)
    if share is None:
        raise refusal('partial_rotary_factor', part, '1, as this family turns whole heads')
    return RotaryConfig(base, scaling, int(head_width * part), **more)


@dataclasses.dataclass(frozen=True)
class _Given:
    """The object that says how positions are stretched.

    Attributes:
      field: its name in config.json.
      kind: a key of `NEEDS`.
      values: what it holds, without nulls.
    """

    field: str
    kind: str
    values: dict[str, Any]

    @classmethod
    def of(cls, s: Settings) -> '_Given':
        found = {name: s.get(name) for name in ('rope_scaling', 'rope_parameters')}
        field = next((name for name, x in found.items() if x), 'rope_parameters')
        values = found[field] or {}
        if not isinstance(values, dict):
            raise refusal(field, values, 'an object, or null')
        # 'type' is the name before version 4.43, kept beside the new one in many files.
        kind = values.get('rope_type') or values.get('type') or 'default'
        if kind == 'su':  # the first name of LongRoPE
            kind = 'longrope'
        if kind not in NEEDS:
            raise refusal(f'{field}.rope_type', kind, f'one of {", ".join(NEEDS)}')
        for name, value in values.items():
            if name not in KNOWN:
                accepted = f'its absence; known: {", ".join(sorted(KNOWN))}'
                raise refusal(f'{field}.{name}', value, accepted)
        missing = [name for name in NEEDS[kind] if name not in values]
        if missing:
            needs = ', '.join(NEEDS[kind])
            lacks = ' and '.join(f'{field}.{name}' for name in missing)
            raise UserError(f'config.json: {lacks} missing; the kind {kind!r} needs {needs}')
        return cls(field, kind, {k: x for k, x in values.items() if x is not None})

    def number(self, name: str, default: Any = None) -> float:
        """A number above 0; `default` where there is none."""
        return self._checked(name, self.values.get(name, default))

    def optional(self, name: str) -> float | None:
        """A number above 0, or None where there is none."""
        return self.number(name) if name in self.values else None

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """As many numbers above 0."""
        value = self.values.get(name)
        if not isinstance(value, list | tuple) or len(value) != count:
            raise refusal(f'{self.field}.{name}', value, f'{count} numbers, one for each pair')
        return tuple(float(self._checked(name, x)) for x in value)

    def _checked(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            beside = name not in self.values and value is not None
            raise refusal(name if beside else f'{self.field}.{name}', value, 'a number above 0')
        return value


def _scaling(
    s: Settings, given: _Given, longest: int, part: float, head_width: int
) -> Scaling | None:
    kind, number = given.kind, given.number
    if kind == 'default':
        return None
    if kind == 'linear':
        return Linear(number('factor'))
    if kind == 'dynamic':
        return Dynamic(number('factor'), longest)
    if kind == 'proportional':
        return Proportional(part, number('factor', 1.0))
    original = number('original_max_position_embeddings', longest)
    # Phi-3 and what followed it have the length outside, and there it counts.
    original = s.size_or('original_max_position_embeddings', original)
    if kind == 'llama3':
        low, high = number('low_freq_factor'), number('high_freq_factor')
        return Llama3(number('factor'), low, high, original)
    factor = number('factor', longest / original)  # a null means so
    growth = given.optional('attention_factor')
    if kind == 'longrope':
        pairs = int(head_width * part) // 2
        short, long = (given.numbers(f'{name}_factor', pairs) for name in ('short', 'long'))
        return LongRope(short, long, original, factor, growth)
    return Yarn(
        factor,
        original,
        given.values.get('beta_fast') or 32.0,  # a zero means so, too
        given.values.get('beta_slow') or 1.0,
        given.values.get('mscale'),
        given.values.get('mscale_all_dim'),
        given.values.get('truncate', True),
        growth,
    )
