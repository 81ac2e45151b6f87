"""Published models as rows of choices. Each file of `TABLES` adds its rows."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import jax

from transformer import model, summary
from transformer.models.assemble import Sizes
from transformer.models.options import StackOptions

TABLES = ('original', 'bert', 'gpt', 'llama', 't5', 'bart', 'vit', 'mamba')


@dataclasses.dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
      name: of the architecture, such as 'bert'.
      size: such as 'base'.
      options: its choices.
      sizes: tokens, context and head that go with them.
      paper: where it was published.
    """

    name: str
    size: str
    options: StackOptions
    sizes: Sizes
    paper: str

    def build(self, **sizes) -> Any:
        """The model, with some of its sizes changed."""
        return model.make(self.options.build(dataclasses.replace(self.sizes, **sizes)))

    def parameters(self) -> int:
        """Number of parameters; what is tied or shared counts once. Nothing is allocated."""
        built = self.build()
        shapes = jax.eval_shape(
            lambda key: built.init(key, built.example(), method='forward')['params'],
            jax.random.key(0),
        )
        return summary.parameter_count(shapes)


def rows(
    name: str,
    paper: str,
    options: StackOptions,
    sizes: Sizes,
    changes: Mapping[str, Mapping[str, Any]],
) -> list[Model]:
    """A model for each size: `options` and `sizes` with the changes of that size."""
    found = []
    of_sizes = {field.name for field in dataclasses.fields(Sizes)}
    for size, change in changes.items():
        mine = {k: v for k, v in change.items() if k not in of_sizes}
        theirs = {k: v for k, v in change.items() if k in of_sizes}
        found.append(
            Model(
                name,
                size,
                dataclasses.replace(options, **mine),
                dataclasses.replace(sizes, **theirs),
                paper,
            )
        )
    return found


def all_models() -> list[Model]:
    """Every published model that is here, in the order of `TABLES`."""
    found = []
    for name in TABLES:
        found += importlib.import_module(f'transformer.models.{name}').MODELS
    return found
