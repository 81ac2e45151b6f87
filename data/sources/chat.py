"""Conversations: records with a list of messages.

A message has `role` and `content`, and may have more, such as `tool_calls`; or `from` and `value`,
as ShareGPT writes them. Content may be a list of parts of type `text`. The field is
`config.text_field`; while that is 'text', its default, it is `messages`, or `conversations` where
there is no such field. A record that has `tools`, `documents` or `chat_template_kwargs`, too, is a
dict of these and its `messages`.
"""

import functools
from typing import Any

from data.sources.corpus import Corpus
from data.sources.opened import Opened, open_tables
from data.sources.records import text
from data.sources.tables import Bad
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError

FIELDS = ('messages', 'conversations')
TOLD = ('tools', 'documents', 'chat_template_kwargs')  # what templates are told besides
ROLES = {
    'human': 'user',
    'gpt': 'assistant',
    'chatgpt': 'assistant',
    'bing': 'assistant',
    'bard': 'assistant',
    'function_call': 'assistant',
    'observation': 'tool',
    'function_response': 'tool',
}
Message = dict[str, Any]


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of conversations, each a list of {'role', 'content', ...}.

    Raises:
      ConfigError: no such path or field; files that are no tables.
    """
    del objective
    found = open_tables(config, 'chat')
    if not isinstance(found, Opened):
        accepted = 'files of JSON lines, Parquet or Arrow with conversations'
        raise ConfigError('data.path', config.path, accepted)
    fields = (config.text_field,) if config.text_field != SourceConfig.text_field else FIELDS
    if found.fields is not None:
        fields = tuple(field for field in fields if field in found.fields) or fields[:1]
        found.need('data.text_field', fields[0])
    wanted = (*fields, *(name for name in TOLD if name in (found.fields or ())))
    return found.corpus(
        wanted, functools.partial(_messages, fields=fields, errors=config.encoding_errors)
    )


def _messages(
    record: dict[str, Any], fields: tuple[str, ...], errors: str
) -> list[Message] | dict[str, Any]:
    field = next((name for name in fields if record.get(name) is not None), None)
    if field is None:
        known = ', '.join(record)
        raise Bad('field missing', f'there is no {fields[0]!r}; the fields are {known}')
    found = record[field]
    if isinstance(found, dict):  # TFDS turns a list of dicts into a dict of lists
        found = [dict(zip(found, values)) for values in zip(*found.values())]
    if not isinstance(found, (list, tuple)) or not found:
        raise Bad('no messages', f'{field!r} is no list of messages: {found!r:.60}')
    messages = [_message(n, message, errors) for n, message in enumerate(found)]
    told = {name: text(record[name], name, errors) for name in TOLD if record.get(name)}
    return {'messages': messages, **told} if told else messages


def _message(n: int, message: Any, errors: str) -> Message:
    if not isinstance(message, dict):
        raise Bad('bad message', f'message {n} is {message!r:.60}; needed: role and content')
    # Arrow gives each message all the fields that any has.
    message = {k: text(value, k, errors) for k, value in message.items() if value is not None}
    if 'role' not in message and 'from' in message:
        role = message.pop('from')
        message = {'role': ROLES.get(role, role), **message}
        if 'value' in message:
            message['content'] = message.pop('value')
    if not isinstance(message.get('role'), str):
        raise Bad('bad message', f'message {n} has no role; its fields are {", ".join(message)}')
    if 'content' not in message and len(message) > 1:  # such as tool_calls alone
        message['content'] = ''
    message['content'] = _joined(message.get('content'))
    if not isinstance(message['content'], str):
        content = message.get('content')
        raise Bad('bad message', f'message {n} has no text as its content, but {content!r:.60}')
    return message


def _joined(content: Any) -> Any:
    """Parts of type `text` as the one text that they are."""
    if not isinstance(content, (list, tuple)) or not content:
        return content
    parts = [part if isinstance(part, dict) else {} for part in content]
    texts = [part.get('text') for part in parts if part.get('type', 'text') == 'text']
    whole = len(texts) == len(parts) and all(isinstance(text, str) for text in texts)
    return ''.join(texts) if whole else content
