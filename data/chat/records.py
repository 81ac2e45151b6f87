"""What a record of a conversation may hold: messages, tools, what the template is told besides."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from transformer.errors import UserError

TOOL_CALLS = ('tool_calls', 'function_call')  # messages with one need no content
VARIABLES = ('tools', 'documents')


@dataclasses.dataclass(frozen=True)
class Conversation:
    """Attributes:

    messages: as chat templates take them: `role`, mostly `content`, and what else there was.
    weights: whether each message is learnt if its role is: its `weight`, or else 1.
    variables: what the template is told besides, such as `tools`.
    """

    messages: tuple[dict[str, Any], ...]
    weights: tuple[bool, ...] = ()
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def conversation(record: Any, where: str, roles: Sequence[str]) -> Conversation:
    """A record, checked.

    Args:
      record: messages such as {'role': 'user', 'content': 'Hello'}; content may be a list of parts
        of type `text`, and a message of `weight` 0 is not learnt. Or an object with `messages`,
        `tools` (JSON schemas, also as a JSON string), `documents` and `chat_template_kwargs`.
      where: what errors begin with.
      roles: those that are accepted.

    Raises:
      UserError: anything else.
    """
    variables: dict[str, Any] = {}
    if isinstance(record, Mapping):
        if record.get('messages') is None:
            known = ', '.join(map(repr, record)) or 'nothing'
            raise UserError(f'{where} has {known}; accepted: a field messages')
        variables = _variables(record, where)
        record = record['messages']
    if isinstance(record, str | bytes | Mapping) or not isinstance(record, Sequence):
        raise _refused(where, 'messages', record, 'a list of messages')
    if not record:
        raise _refused(where, 'messages', record, 'at least one message')
    made = [_message(message, i, where, roles) for i, message in enumerate(record)]
    return Conversation(tuple(m for m, _ in made), tuple(w for _, w in made), variables)


def _joined(said: Any) -> Any:
    """Parts that are all text, as one text."""
    if isinstance(said, str) or not isinstance(said, Sequence):
        return said
    parts = [
        part['text']
        for part in said
        if isinstance(part, Mapping)
        and part.get('type', 'text') == 'text'
        and isinstance(part.get('text'), str)
    ]
    return ''.join(parts) if len(parts) == len(said) else said


def _message(
    message: Any, place: int, where: str, roles: Sequence[str]
) -> tuple[dict[str, Any], bool]:
    name = f'messages[{place}]'
    if not isinstance(message, Mapping):
        accepted = "an object such as {'role': 'user', 'content': 'Hello'}"
        raise _refused(where, name, message, accepted)
    role, said = message.get('role'), _joined(message.get('content'))
    if role not in roles:
        accepted = f'{", ".join(roles)} (config.objective.roles)'
        raise _refused(where, f'{name}.role', role, accepted)
    drop = ('role', 'content', 'weight')
    kept = {key: value for key, value in message.items() if key not in drop and value is not None}
    # Columnar files give every message every field: empty lists where there are no calls.
    kept = {key: value for key, value in kept.items() if key not in TOOL_CALLS or value}
    if said is not None and not isinstance(said, str):
        raise _refused(where, f'{name}.content', said, 'text, or a list of parts of type text')
    if said is None and not any(key in kept for key in TOOL_CALLS):
        raise _refused(where, f'{name}.content', said, f'text, unless there are {TOOL_CALLS[0]}')
    weight = message.get('weight')
    if weight not in (None, 0, 1):
        raise _refused(where, f'{name}.weight', weight, '0 or 1')
    made = {'role': role} | ({} if said is None else {'content': said}) | kept
    return made, weight is None or bool(weight)


def _variables(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = {}
    for name in VARIABLES:
        value = record.get(name)
        if isinstance(value, str) and value:
            try:
                value = json.loads(value)
            except ValueError:
                raise _refused(where, name, value, 'JSON') from None
        if value is None or value == '':
            continue
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise _refused(where, name, value, 'a list')
        if len(value):
            found[name] = value
    more = record.get('chat_template_kwargs') or {}
    if not isinstance(more, Mapping):
        raise _refused(where, 'chat_template_kwargs', more, 'an object')
    return found | {key: value for key, value in more.items() if value is not None}


def _refused(where: str, name: str, value: Any, accepted: str) -> UserError:
    shown = repr(value)
    shown = shown if len(shown) <= 200 else f'{shown[:200]}...'
    return UserError(f'{where}: {name}={shown} cannot be used; accepted: {accepted}')
