"""From a config.json to a model here: its config, its family, and where its tensors lie."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformer import model as models
from transformer import summary
from transformer.errors import UserError
from transformer.hf import files, rules, table
from transformer.hf.rules import Piece, Rule
from transformer.hf.settings import Settings
from transformer.hf.table import Family, Head
from transformer.models.assemble import Sizes
from transformer.models.fit import fit


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a config.json describes.

    Attributes:
      name: of the original's class, such as 'BertForMaskedLM'.
      values: the config.json.
      config: of the model here, before it is fitted to a machine.
    """

    name: str
    family: Family
    head: Head
    values: Mapping[str, Any]
    config: Any

    @property
    def shape(self) -> str:
        """'decoder', 'encoder', 'encoder_decoder' or 'vision'."""
        return self.head.shape or self.family.shape

    @property
    def start(self) -> int | None:
        """The token that a decoder of an encoder-decoder reads first."""
        make = self.family.start
        return None if make is None else make(Settings(self.values))

    @property
    def pad(self) -> int | None:
        """The padding token, or None."""
        return self.values.get('pad_token_id', self.family.pad)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, where the head scores classes."""
        scores = self.head.kind in ('class', 'token_class')
        return Settings(self.values).labels if scores else ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Of all tensors of the class."""
        return self.family.rules_of(self.head, Settings(self.values))

    @property
    def copies(self) -> dict[str, list[str]]:
        """What the original wants to find twice: it ties tables only where it ties the head too."""
        if self.values.get('tie_word_embeddings') is not False:
            return {}
        prefix = '' if self.head.base else self.head.prefix or self.family.prefix
        sides = {'encoder_decoder': ('encoder.', 'decoder.'), 'encoder': ('encoder.',)}
        wanted = sides.get(self.shape, ())
        return {
            prefix + name: [prefix + copy for copy in copies if copy.startswith(wanted)]
            for name, copies in self.family.copies.items()
        }

    def longest(self, name: str = 'context') -> int:
        """The longest sequence, in tokens, that the checkpoint was made for; 0 for images."""
        return getattr(self.config, name, 0)

    @property
    def position_offset(self) -> int:
        """Row of the first place in the table of positions; 0 where there is none."""
        embed = getattr(self.config, 'embed', None)
        return getattr(getattr(embed, 'positions', None), 'offset', 0)

    def model(self, sizes: Sizes, attention: str = 'auto') -> Any:
        """The model, fitted."""
        return models.make(fit(self.config, sizes, attention))

    def pieces(self, shapes: Any) -> list[Piece]:
        """Where each parameter lies in a checkpoint."""
        patterns = {n: len(stack.pattern) for n, (stack, _) in summary.stacks(self.config).items()}
        return rules.plan(self.rules, shapes, patterns)


def values_of(directory: Path) -> dict[str, Any]:
    """The config.json of a directory, with what it leaves to the tensors settled.

    Raises:
      UserError: it is missing, damaged or of no known family.
    """
    values = files.read_json(directory / files.CONFIG)
    family = table.family_of(values)
    with files.Tensors(directory) as tensors:
        if family.settle is not None:
            return family.settle(values, tensors)
        return values | _untied(values, family, tensors)


def _untied(values: Mapping[str, Any], family: Family, tensors: files.Tensors) -> dict[str, Any]:
    """A head with a kernel that is not the table of tokens is not tied, whatever the file says."""
    s = Settings(values)
    rules = [rule for head in family.heads.values() for rule in _rules(family, head, s)]
    there = {
        ours: [rule.theirs for rule in rules if rule.ours == ours and rule.theirs in tensors]
        for ours in ('tokens/table', 'head/kernel')
    }
    tables, kernels = there.values()
    if not tables or not kernels:
        return {}
    same = np.array_equal(tensors.read(tables[0]), tensors.read(kernels[0]))
    return {} if same else {'tie_word_embeddings': False}


def _rules(family: Family, head: Head, settings: Settings) -> tuple[Rule, ...]:
    """Of a class, and of the same with the names of the base class."""
    try:
        return (
            *family.rules_of(head, settings),
            *family.rules_of(dataclasses.replace(head, base=True), settings),
        )
    except (TypeError, ValueError, AttributeError):  # settings that `read` will refuse
        return ()


def read(
    values: Mapping[str, Any],
    name: str = '',
    kind: str = '',
    allow: Iterable[str] = (),
    any_head: bool = False,
) -> Architecture:
    """The architecture that a config.json describes.

    Args:
      values: the JSON object.
      name: of the class; '' means the one that the file names.
      kind: of the head that is wanted instead of the file's, or ''.
      allow: fields that may be passed over.
      any_head: whether the head does not matter: one of the family's where none is named.

    Raises:
      UserError: an unknown family or class, or a field that is not implemented.
    """
    family = table.family_of(values)
    listed = values.get('architectures') or []
    name = name or str(listed[0] if isinstance(listed, Sequence) and listed else '')
    if kind:
        name = family.class_for(kind, name)
    if any_head and name not in family.heads:
        name = next(iter(family.heads))
    if name not in family.heads:
        known = ', '.join(family.heads)
        raise UserError(
            f'config.json: architecture {name!r} of {family.model_type} is not known; '
            f'accepted (architecture=...): {known}'
        )
    head, settings = family.heads[name], Settings(values, allow)
    try:
        config = (head.body or family.body)(settings)
        if head.make is not None:
            config = dataclasses.replace(config, head=head.make(settings))
    except UserError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f'config.json: a field of {family.model_type} holds what it cannot: {error}'
        ) from None
    if head.kind not in ('tokens', 'masked'):
        settings.ignore('tie_word_embeddings')
    settings.finish()
    return Architecture(name, family, head, dict(values), config)


def shapes(model: Any) -> Any:
    """Shapes and types of a model's parameters; nothing is made."""
    return jax.eval_shape(
        lambda key: model.init(key, model.example(), method='forward')['params'], jax.random.key(0)
    )


def parameter_bytes(piece: Piece, dtype: np.dtype) -> int:
    """Bytes of a parameter."""
    return int(np.prod(piece.shape)) * np.dtype(dtype).itemsize
