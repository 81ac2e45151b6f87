"""The one command line: `--config=FILE[:ARG]`, `--config.field=value`, `--workdir`, and few more.

It imports nothing heavy, so that `--help` answers at once.
"""

import argparse
import ast
import difflib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from transformer import launch, objectives
from transformer.errors import UserError


def run(main: Callable[[], Any]) -> None:
    """Runs `main` as a script: its result is the exit code; a `UserError` is one line."""
    try:
        with launch.guard():
            code = main()
        launch.here().finish()
        sys.stdout.flush()
    except UserError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        code = 1
    except KeyboardInterrupt:  # once training has begun, Ctrl-C saves first
        print('\ninterrupted', file=sys.stderr, flush=True)
        code = 130
    except BrokenPipeError:
        if _is_read():
            raise
        code = 141  # of a process that SIGPIPE ends
    sys.exit(code)


def _is_read() -> bool:
    """Whether there still is who reads what is printed; with `| head` there is not."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is buffered
        return False
    return True


class _Parser(argparse.ArgumentParser):
    """argparse, with errors like all others here."""

    def error(self, message: str):
        raise UserError(f'{message} (see --help)')


def parser(description: str) -> argparse.ArgumentParser:
    """A parser that refuses abbreviations and keeps the description's line breaks."""
    return _Parser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config(to: argparse.ArgumentParser) -> None:
    """Adds `--config` and, for the help, `--config.FIELD`."""
    to.add_argument('--config', metavar='FILE[:ARG]', help='a file with get_config, as in configs/')
    to.add_argument(
        '--config.FIELD',
        metavar='VALUE',
        dest='_override',
        help='sets one field, such as --config.steps=100 or --config.model.width=256',
    )


def parse(
    of: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> tuple[argparse.Namespace, dict[str, str]]:
    """The flags, and the `--config.FIELD` overrides as strings by field.

    Raises:
      UserError: a flag that is unknown or lacks its value.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    overrides, rest = {}, []
    while given:
        word = given.pop(0)
        if not word.startswith('--config.'):
            rest.append(word)
            continue
        name, equals, value = word.removeprefix('--config.').partition('=')
        if not equals:
            if not given:
                raise UserError(f'--config.{name} lacks its value: --config.{name}=VALUE')
            value = given.pop(0)
        overrides[name] = value
    return of.parse_args(rest), overrides


def load_config(spec: str) -> ml_collections.ConfigDict:
    """`get_config` of FILE, called with ARG if there is one: 'configs/quickstart.py:cpu'.

    Raises:
      UserError: no such file, no `get_config` in it, or an ARG that it does not take.
    """
    name, _, arg = spec.partition(':')
    path = Path(name)
    if not path.is_file():
        near = sorted(str(p) for p in Path('configs').glob('*.py') if p.stem != '__init__')
        raise UserError(f'--config={spec}: no file {name}; there are {", ".join(near) or "none"}')
    module_spec = importlib.util.spec_from_file_location(f'config_{path.stem}', path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    get_config = getattr(module, 'get_config', None)
    if get_config is None:
        raise UserError(f'--config={spec}: {name} defines no get_config()')
    if not arg:
        return get_config()
    if not inspect.signature(get_config).parameters:
        raise UserError(
            f'--config={spec}: get_config() of {name} takes no argument after the colon'
        )
    try:
        return get_config(arg)
    except ValueError as error:
        raise UserError(f'--config={spec}: {error}') from None


def override(config: ml_collections.ConfigDict, overrides: dict[str, str]) -> None:
    """Sets fields from strings, in place, each with the type that it has.

    Raises:
      UserError: a field that does not exist (the nearest one is named) or a value of another type.
    """
    for name, text in overrides.items():
        *groups, last = name.split('.')
        if groups == ['model', 'hf'] and 'hf' in config.get('model', {}):
            # Fields of another's config.json, which its family checks.
            with config.model.hf.unlocked():
                config.model.hf[last] = _json(text)
            continue
        node = config
        for group in groups:
            node = node.get(group) if isinstance(node, ml_collections.ConfigDict) else None
        if not isinstance(node, ml_collections.ConfigDict) or last not in node:
            known = _names(config)
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            near += [k for k in known if k.split('.')[-1] == last]
            hint = f'did you mean config.{near[0]}?' if near else f'known: {", ".join(known)}'
            raise UserError(f'config.{name}={text!r}: there is no such field; {hint}')
        old = node[last]
        if name == 'data.mixture':
            node[last] = _mixture(text)
            continue
        if isinstance(old, ml_collections.ConfigDict):
            fields = ', '.join(f'config.{name}.{k}' for k in old)
            raise UserError(f'config.{name}={text!r}: this is a group of fields: {fields}')
        try:
            node[last] = _convert(text, old)
        except (KeyError, ValueError, SyntaxError, TypeError):
            kind = {int: 'a whole number', float: 'a number', bool: 'true or false'}.get(
                type(old), f'{type(old).__name__}, such as {old!r}'
            )
            raise UserError(
                f'config.{name}={text!r}: wrong type; accepted: {kind} (default {old!r})'
            ) from None
    objectives.settle(config)


def _names(config: ml_collections.ConfigDict, prefix: str = '') -> list[str]:
    names = []
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            names += _names(value, f'{prefix}{key}.')
        else:
            names.append(prefix + key)
    return names


def _json(text: str) -> Any:
    """A JSON value; what is none is a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _mixture(text: str) -> ml_collections.ConfigDict:
    """Sources by name, each with the fields that are not given at their defaults."""
    from transformer.data_config import source_fields

    try:
        given = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        given = None
    if not isinstance(given, dict):
        accepted = "sources by name, such as {'books': {'path': 'books', 'weight': 2.0}}"
        raise UserError(f'config.data.mixture={text!r}: accepted: {accepted}')
    return ml_collections.ConfigDict(source_fields(given))


def _convert(text: str, old: Any) -> Any:
    if isinstance(old, bool):
        return {'true': True, '1': True, 'yes': True, 'false': False, '0': False, 'no': False}[
            text.lower()
        ]
    if isinstance(old, int):
        return int(text.replace('_', ''))
    if isinstance(old, float):
        return float(text)
    if isinstance(old, str):
        return text
    value = ast.literal_eval(text)
    if not isinstance(value, list | tuple):
        raise TypeError(text)
    return tuple(value)
