"""What a family of checkpoints is: how its config.json is read, and where its tensors go.

The families lie in `transformer/models/checkpoints/`, one file each.
"""

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from transformer.errors import UserError
from transformer.hf.rules import Rule, within
from transformer.hf.settings import Settings

Rules = tuple[Rule, ...] | Callable[[Settings], tuple[Rule, ...]]


@dataclasses.dataclass(frozen=True)
class Head:
    """One class of a family, such as `BertForMaskedLM`.

    Attributes:
      kind: 'tokens', 'masked', 'class', 'token_class', 'span', 'replaced', 'pooled' or
        'none'.
      make: from settings to the head's config; None means no head.
      rules: of the head's own tensors, with their whole names; or a function from settings to them.
      body: of the stack, where it is not the family's.
      shape: kind of model, where it is not the family's.
      base: whether their names of the body's tensors have no prefix.
      prefix: what these names begin with, where it is not the family's.
    """

    kind: str = 'none'
    make: Callable[[Settings], Any] | None = None
    rules: Rules = ()
    body: Callable[[Settings], Any] | None = None
    shape: str = ''
    base: bool = False
    prefix: str = ''


@dataclasses.dataclass(frozen=True)
class Family:
    """All checkpoints of one `model_type`.

    Attributes:
      model_type: as config.json says.
      shape: 'decoder', 'encoder', 'encoder_decoder' or 'vision'.
      body: from settings to a model's config without a head.
      rules: of the body's tensors, without the prefix; or a function from settings to them.
      prefix: what their names begin with in all classes but the base one, such as 'bert.'.
      heads: the classes by their names.
      unused: regular expressions of tensors that hold no parameters or repeat others (masks, tied
        copies), without the prefix.
      places: how tokens are numbered where a caller does not say: 'all' from 0 on; 'real': those
        that are no padding token, the others get -1 (RoBERTa); 'seen': the same of those that the
        attention mask counts (OPT).
      start: token that a decoder reads first, from settings; None for other shapes.
      end: token that ends a source, from settings; heads of kind 'class' of an encoder-decoder read
        the decoder where the source has its last one.
      shifted: kinds of heads whose decoder, where a caller gives it nothing, reads the source
        again, shifted right by one; and what it then reads first, a key of `inputs.FIRST`.
      pad: the padding token where config.json does not say, or None.
      copies: tensors that files may hold under several names, without the prefix: any of them
        stands in for a missing one, and they must be equal.
      absent: tensors that files may lack, without the prefix, and how they are made of their shape.
      passes_types: whether token types, which its tokenizers make, change nothing where a model has
        no table of them.
      settle: from a config.json and the tensors beside it to one that says what only they know,
        such as whether the head is tied.
    """

    model_type: str
    shape: str
    body: Callable[[Settings], Any]
    rules: Rules
    prefix: str
    heads: Mapping[str, Head]
    unused: tuple[str, ...] = ()
    places: str = 'all'
    start: Callable[[Settings], int] | None = None
    end: Callable[[Settings], int] | None = None
    pad: int | None = None
    shifted: Mapping[str, str] = dataclasses.field(default_factory=dict)
    copies: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    absent: Mapping[str, Callable[[tuple[int, ...]], Any]] = dataclasses.field(default_factory=dict)
    settle: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None
    passes_types: bool = False

    def rules_of(self, head: Head, settings: Settings) -> tuple[Rule, ...]:
        """All rules of one class."""
        body, own = (x(settings) if callable(x) else x for x in (self.rules, head.rules))
        return (*within('' if head.base else head.prefix or self.prefix, body), *own)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All that names of the body's tensors begin with, that of most classes first."""
        found = (self.prefix, *(head.prefix for head in self.heads.values()))
        return tuple(dict.fromkeys(filter(None, found)))

    def class_for(self, kind: str, wanted: str = '') -> str:
        """The class with a head of that kind; `wanted` if it has one.

        Raises:
          UserError: the family has none.
        """
        fits = [name for name, head in self.heads.items() if head.kind == kind]
        if not fits:
            kinds = sorted({head.kind for head in self.heads.values()})
            raise UserError(
                f'{self.model_type} has no head of kind {kind!r}; accepted: {", ".join(kinds)}'
            )
        return wanted if wanted in fits else fits[0]


@functools.cache
def families() -> dict[str, Family]:
    """All families by their `model_type`."""
    from transformer.models import checkpoints

    found = {}
    for module in pkgutil.iter_modules(checkpoints.__path__):
        if module.name.startswith('_'):
            continue
        table = importlib.import_module(f'{checkpoints.__name__}.{module.name}')
        found |= {family.model_type: family for family in table.FAMILIES}
    return found


def family_of(config: Mapping[str, Any]) -> Family:
    """The family that a config.json names.

    Raises:
      UserError: it names none, or one that is not here.
    """
    name, known = config.get('model_type'), families()
    if isinstance(name, str) and name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    hint = f'; the nearest is {near[0]!r}' if near else ''
    raise UserError(
        f'config.json: model_type={name!r} is not known{hint}; known: {", ".join(sorted(known))}'
    )
