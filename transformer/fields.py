"""Every field of a config with its default and its meaning, as a page of Markdown.

    python -m transformer.fields > docs/config.md

What a field means is read from the docstring of the dataclass that has it.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transformer import cli, registry
from transformer.data_config import DataConfig, MixedSource, SourceConfig
from transformer.experiment import KINDS, Experiment
from transformer.heads import POOLS
from transformer.mlps import ACTIVATIONS
from transformer.models import FAMILIES
from transformer.models.options import MLPS, NORMS, SCALINGS, StackOptions
from transformer.objectives import Objective
from transformer.ops.attention import BACKENDS
from transformer.residuals import RESIDUALS
from transformer.stack import REMAT

# Names that a field takes, where a table has them.
ACCEPTED = {
    'attention': ('auto', *BACKENDS),
    'mixers': registry.names(),
    'mlp': MLPS,
    'norm': NORMS,
    'pool': POOLS,
    'pooler': ('', *ACTIVATIONS),
    'remat': REMAT,
    'residual': RESIDUALS,
    'rope_scaling': SCALINGS,
}
TABLE = re.compile(r',? (a key|one) of `[\w.]+`')  # whose names are listed instead
HEAD = """# Every field

Made by `python -m transformer.fields > docs/config.md` from the dataclasses that hold the fields;
do not edit it. Each can be set in a file of `configs/` and on the command line:

    python train.py --config=configs/quickstart.py --workdir=runs/mine \\
        --config.steps=1000 --config.model.width=256 --config.model.mixers="('mamba','attention')"

A field that does not exist is an error that names the nearest one; so is a value of another type,
one that cannot be used, and one that nothing would read."""


def described(config_type: type) -> dict[str, str]:
    """What the docstrings say of each field, by name, inherited ones too."""
    found: dict[str, str] = {}
    for one in reversed(config_type.__mro__):
        found |= dict(_attributes(vars(one).get('__doc__') or ''))
    return found


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    """(name, meaning) of the entries below `Attributes:`; one may name several fields."""
    _, found, rest = inspect.cleandoc(docstring).partition('Attributes:\n')
    lines = [line for line in rest.splitlines() if line.strip()] if found else []
    indents = [len(line) - len(line.lstrip()) for line in lines]
    entries: list[tuple[str, list[str]]] = []
    for line, indent in zip(lines, indents):
        if indent < indents[0]:
            break
        if indent > indents[0]:
            entries[-1][1].append(line.strip())
        else:
            names, _, meaning = line.strip().partition(': ')
            entries.append((names, [meaning]))
    for names, meaning in entries:
        yield from ((name, ' '.join(meaning)) for name in names.split(', '))


def _summary(config_type: type) -> str:
    """The docstring without its attributes, of which a heading says the first words."""
    text = inspect.cleandoc(config_type.__doc__).partition('Attributes:\n')[0].strip()
    return re.sub(r'^`config[^`]*`[^.:,]*[.:,]\s*|,\s*and:$', '', ' '.join(text.split()))


def _defaults(config_type: type) -> dict[str, Any]:
    fields = dataclasses.fields(config_type)
    missing = dataclasses.MISSING
    return {f.name: f.default_factory() if f.default is missing else f.default for f in fields}


def _shown(value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) else value
    shown = shown if isinstance(shown, str) and shown else repr(shown)
    if '|' in shown:  # would end the cell
        return f'<code>{shown.replace("<", "&lt;").replace("|", "&#124;")}</code>'
    return f'`{shown}`'


def _table(
    prefix: str,
    config_type: type,
    names: Sequence[str],
    accepted: Mapping[str, Sequence[str]] = ACCEPTED,
) -> list[str]:
    """The rows of these fields.

    Raises:
      ValueError: no docstring says what one means.
    """
    meanings, defaults = described(config_type), _defaults(config_type)
    lines = ['', '| field | default | meaning |', '| --- | --- | --- |']
    for name in names:
        if name not in meanings:
            raise ValueError(f'no docstring of {config_type.__name__} has the field {name!r}')
        meaning = meanings[name].rstrip('.')
        if name in accepted:
            known = ', '.join(f"'{choice}'" for choice in accepted[name])
            meaning = f'{TABLE.sub("", meaning)}. Accepted: {known}'
        default = _shown(defaults[name])
        lines.append(f'| `{prefix}{name}` | {default} | {meaning.replace("|", "&#124;")} |')
    return lines if names else []


def _names(config_type: type, without: type | None = None) -> list[str]:
    """Fields of a type, without those of another that have the same default there."""
    same = _defaults(without) if without else {}
    own = _defaults(config_type)
    return [name for name in own if name not in same or own[name] != same[name]]


def _experiment() -> Iterator[str]:
    kinds = {field.name: field.type for field in dataclasses.fields(Experiment)}
    groups = {name: kind for name, kind in kinds.items() if dataclasses.is_dataclass(kind)}
    groups.pop('data')
    plain = [n for n in kinds if n not in groups and n not in ('data', 'model', 'objective')]
    yield '\n## config'
    yield from _table('', Experiment, plain)
    yield '\n## config.data'
    yield '\nOne source of records, its tokenizer, and how rows are made: [data.md](data.md).'
    yield from _table('data.', DataConfig, _names(DataConfig))
    own = [name for name in _names(MixedSource) if name not in _names(SourceConfig)]
    yield '\n## config.data.mixture.NAME'
    yield f'\nThe fields of `config.data` down to `{_names(SourceConfig)[-1]}`, and:'
    yield from _table('data.mixture.NAME.', MixedSource, own)
    for name, kind in groups.items():
        yield f'\n## config.{name}\n\n{_sentence(_summary(kind))}'
        yield from _table(f'{name}.', kind, _names(kind))


def _models() -> Iterator[str]:
    yield '\n## config.model'
    yield '\nThe choices that all families share; `family` is that of the config.'
    positions = {'positions': StackOptions.POSITIONS}
    shared = [name for name in _names(StackOptions) if name != 'family']
    yield from _table('model.', StackOptions, shared, ACCEPTED | positions)
    for family, options in FAMILIES.items():
        yield f'\n### config.model.family={family!r}'
        stack = issubclass(options, StackOptions)
        names = [n for n in _names(options, StackOptions if stack else None) if n != 'family']
        accepted = ACCEPTED
        if stack:
            yield '\nWhat is its own, and what has another default:'
            known = getattr(options, 'POSITIONS', ())
            if known != StackOptions.POSITIONS and 'positions' not in names:
                names.insert(0, 'positions')
            accepted = ACCEPTED | {'positions': known}
        yield from _table('model.', options, names, accepted)


def _objectives() -> Iterator[str]:
    yield '\n## config.objective'
    yield "\n`kind` is that of the config; `smoothing` is every objective's."
    yield from _table('objective.', Objective, ['smoothing'])
    families = {name: options() for name, options in FAMILIES.items() if name != 'imported'}
    for kind, objective in KINDS.items():
        fits = [name for name, options in families.items() if options.fits(objective)]
        yield f'\n### config.objective.kind={kind!r}\n\n{_summary(objective)}'
        yield f'\nModels: {", ".join(fits)}. Records: {objective.RECORDS}.'
        own = [name for name in _names(objective) if name not in _names(Objective)]
        yield from _table('objective.', objective, own)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_experiment(), *_models(), *_objectives()]
    return '\n'.join(parts) + '\n'


def main() -> int:
    parser = cli.parser(__doc__)
    cli.parse(parser)
    print(page(), end='')
    return 0


if __name__ == '__main__':
    cli.run(main)
