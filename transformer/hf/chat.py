"""Chat templates: the Jinja templates of checkpoints, run in a sandbox that gives them no objects.

A template sees plain JSON data, the names of the special tokens and three functions. What it must
not do (reach into Python, change its inputs) raises an error.
"""

import datetime
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transformer.errors import UserError

SAFE = (3, 1, 6)  # jinja2 before it lets templates out of the sandbox
MARKS = ('generation_begins', 'generation_ends')  # what a template prints around its generations
GENERATION = re.compile(r'\{%[-+]?\s*generation\s*[-+]?%\}')
REASONING = ('reasoning_content', 'thinking', 'reasoning')  # one thing under three names


def render(template: str, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
    """The text of a conversation.

    Args:
      template: the Jinja source.
      messages: such as {'role': 'user', 'content': 'Hello'}, in their order.
      variables: what the template may ask for besides them.

    Raises:
      UserError: no jinja2, a damaged template, one that refuses the messages or reaches out of the
        sandbox; messages that are no data.
    """
    if isinstance(messages, str | Mapping) or not messages:
        accepted = "a list of at least one {'role': ..., 'content': ...}"
        raise UserError(f'messages={messages!r} cannot be used; accepted: {accepted}')
    seen = [_message(message, i) for i, message in enumerate(messages)]
    given = {name: _plain(value, name) for name, value in variables.items()}
    given = {'tools': None, 'documents': None} | dict.fromkeys(MARKS, '') | given
    compiled = _compiled(template)
    try:
        return compiled.render(messages=seen, **given)
    except Exception as error:  # whatever a template of somebody else's may do wrong
        why = str(error) or type(error).__name__
        raise UserError(f'the chat template cannot be used on these messages: {why}') from None


def has_generations(template: str) -> bool:
    """Whether a template says by `{% generation %}` what the assistant says.

    The text between is found by `render` with two of `MARKS` among the variables.
    """
    return GENERATION.search(template) is not None


def check(template: str) -> None:
    """Raises a `UserError` where a template is damaged, or cannot be run here."""
    _compiled(template)


def _message(message: Any, place: int) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        accepted = "an object such as {'role': 'user', 'content': 'Hello'}"
        raise UserError(f'messages[{place}]={message!r} cannot be used; accepted: {accepted}')
    # A key without a value reads as 'None' in many templates: the same as no key is meant.
    kept = {key: value for key, value in message.items() if value is not None}
    plain = _plain(kept, f'messages[{place}]')
    found = next((plain[name] for name in REASONING if name in plain), None)
    if found is None:
        return plain
    return {'thinking': found} | plain | {'reasoning_content': found}


def _plain(value: Any, name: str) -> Any:
    """A copy of JSON data: objects have methods that a template could call.

    Raises:
      UserError: it is something else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind, made in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):
        if isinstance(value, kind):
            return made(value)  # of a subclass, such as an enumeration, the value alone
    if isinstance(value, Mapping):
        return {_plain(k, name): _plain(v, f'{name}[{k!r}]') for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f'{name}[{i}]') for i, item in enumerate(value)]
    accepted = 'text, numbers, lists and objects; tools as JSON schemas'
    raise UserError(f'{name} holds a {type(value).__name__}; accepted: {accepted}')


@functools.lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    jinja2 = _library()
    try:
        return _environment().from_string(template)
    except jinja2.TemplateSyntaxError as error:
        where = f'line {error.lineno}: {error.message}'
        raise UserError(f'the chat template is damaged: {where}') from None


def _library() -> Any:
    try:
        import jinja2
    except ImportError:
        raise UserError("chat templates need jinja2: pip install 'jinja2>=3.1.6'") from None
    numbers = tuple(int(part) for part in jinja2.__version__.split('.')[:3] if part.isdigit())
    if numbers < SAFE:
        raise UserError(
            f'jinja2 {jinja2.__version__} does not hold templates safely; '
            "accepted: 3.1.6 or later: pip install -U 'jinja2>=3.1.6'"
        )
    return jinja2


@functools.cache
def _environment() -> Any:
    """What templates are written for, https://jinja.palletsprojects.com/en/stable/sandbox."""
    _library()
    import jinja2
    import jinja2.ext
    import jinja2.sandbox

    class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
        """What is out of bounds is an error at once, not an undefined value that prints as ''."""

        def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
            kind = type(obj).__name__
            raise jinja2.sandbox.SecurityError(f'it reaches for {attribute!r} of a {kind}')

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks what the assistant says: a character before, one after it."""

        tags = {'generation'}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(('name:endgeneration',), drop_needle=True)
            names = (jinja2.nodes.Name(name, 'load', lineno=line) for name in MARKS)
            first, last = (jinja2.nodes.Output([name], lineno=line) for name in names)
            return jinja2.nodes.Scope([first, *body, last], lineno=line)

    class Namespace(jinja2.utils.Namespace):
        """A namespace without names that Python gives a meaning."""

        def __init__(*args: Any, **attributes: Any):
            self, *given = args
            attributes = dict(*given, **attributes)
            for name in attributes:
                _check(name)
            jinja2.utils.Namespace.__init__(self, attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            _check(name)
            super().__setitem__(name, value)

    def _check(name: Any) -> None:
        if str(name).startswith('_'):
            raise jinja2.sandbox.SecurityError(f'namespace attribute {name!r} begins with _')

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
        """Unlike Jinja's own, it leaves <, > and & as they are."""
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    made = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters['tojson'] = tojson
    made.globals['raise_exception'] = raise_exception
    made.globals['strftime_now'] = lambda form: datetime.datetime.now().strftime(form)
    made.globals['namespace'] = Namespace
    made.globals.pop('lipsum')  # a Python function that no template needs
    return made
