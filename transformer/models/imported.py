"""Models as their Hugging Face config.json describes them, to be trained like any other."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from transformer.errors import ConfigError, UserError
from transformer.models.assemble import Sizes

# Fields of a config.json that are no settings: names, which `task.json` keeps, and remarks.
NO_SETTINGS = ('id2label', 'label2id', 'num_labels', 'problem_type')


@dataclasses.dataclass(frozen=True)
class ImportedOptions:
    """`config.model` of the family 'imported'.

    Attributes:
      hf: the config.json; every field of the family can be set by its own name, such as
        `--config.model.hf.attention_dropout=0.1`.
      allow: fields of it that may be passed over though they are not known.
      attention: what computes it; 'auto' chooses, a key of `ops.attention.BACKENDS`.
    """

    family: str = 'imported'
    hf: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    allow: tuple[str, ...] = ()
    attention: str = 'auto'

    @property
    def experts(self) -> int:
        """Experts of a layer that has some; 0 without."""
        names = ('num_local_experts', 'num_experts')
        return next((self.hf[name] for name in names if self.hf.get(name)), 0)

    @property
    def image(self) -> int:
        """Height and width of the images, in pixels."""
        return self.architecture('class').config.patches.image

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for coloured ones."""
        return self.architecture('class').config.patches.channels

    def fits(self, objective: Any) -> bool:
        """Whether it can be trained so: the family must have a class with such a head."""
        from transformer.hf import table

        family = table.family_of(self.hf)
        if objective.HEAD not in {head.kind for head in family.heads.values()}:
            return False
        named = next(iter(self.hf.get('architectures') or ()), '')  # if `build` takes it
        head = family.heads[family.class_for(objective.HEAD, named)]
        shape = head.shape or family.shape
        # A decoder's class is read from its last token, in the place of an encoder's.
        classes = shape == 'decoder' and objective.HEAD in ('class', 'token_class')
        return ('encoder' if classes else shape) == objective.SHAPE

    def architecture(self, head: str, classes: tuple[str, ...] | int = ()) -> Any:
        """The `hf.architecture.Architecture` with a head of that kind.

        Args:
          classes: their names or their number, for heads that score classes.

        Raises:
          UserError: a field of the config.json that is not implemented.
        """
        from transformer.hf import architecture

        values, names = dict(self.hf), classes
        if isinstance(classes, int):
            names = tuple(f'LABEL_{i}' for i in range(classes))
        if names:
            values['id2label'] = {str(i): name for i, name in enumerate(names)}
            values['label2id'] = {name: i for i, name in enumerate(names)}
        return architecture.read(values, kind=head, allow=self.allow)

    def build(self, sizes: Sizes) -> Any:
        """The model's config.

        Raises:
          ConfigError: a setting that cannot be used, or a tokenizer with more tokens than it has.
        """
        from transformer.models.fit import fit

        try:
            made = self.architecture(sizes.head, sizes.classes)
        except UserError as error:
            raise UserError(f'config.model.hf: {error}') from None
        known = made.config.tokens.vocab if hasattr(made.config, 'tokens') else 0
        if sizes.vocab > known:
            accepted = f'at least {sizes.vocab}, the tokens of the tokenizer'
            raise ConfigError('model.hf.vocab_size', known, accepted)
        return fit(made.config, sizes, self.attention)


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config.json goes into `config.model.hf`."""
    from transformer.hf.settings import HARMLESS

    remark = lambda name, value: name in HARMLESS and isinstance(value, Mapping)  # noqa: E731
    return {k: v for k, v in values.items() if k not in NO_SETTINGS and not remark(k, v)}
