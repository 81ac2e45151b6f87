"""How conversations are written for one tokenizer: template, what is learnt, tokens, ends."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from data.chat import spans, templates
from data.chat.records import Conversation, conversation
from data.chat.tokens import Encoded, Parts, Whole, Written, spellings
from data.tokenizer_base import Tokenizer, clean
from transformer.errors import ConfigError, UserError
from transformer.hf import chat
from transformer.objectives import Chat

SURROGATES = re.compile('[\ud800-\udfff]')
PROBE = ('\ufdd4', '\ufdd5', '\ufdd6', '\ufdd7')  # what is said in an example


class Format:
    """Args:

      tokenizer: of the model.
      objective: says which template, and whose messages are learnt.

    Raises:
      ConfigError: there is no template; or it marks itself what is learnt, and other roles than the
        assistant's are asked for.
      UserError: a damaged template.
    """

    def __init__(self, tokenizer: Tokenizer, objective: Chat):
        self._tokenizer, self._objective = tokenizer, objective
        self._templates = [templates.choose(tokenizer, objective, tools) for tools in (False, True)]
        self._roles = templates.roles(tokenizer)
        self._tagged = [chat.has_generations(template) for template in self._templates]
        if any(self._tagged) and tuple(objective.train_on) != ('assistant',):
            accepted = "('assistant',): the template marks by {% generation %} what is learnt"
            raise ConfigError('objective.train_on', objective.train_on, accepted)
        for template in self._templates:
            chat.check(template)
        hf = getattr(tokenizer, 'tokenizer', None)
        self._specials = dict(tokenizer.specials if hf is None else hf.special_tokens)
        self._added = self._specials | self._others(hf)
        self._names = spellings(self._specials | self._between())
        self._ends = spellings(self._added)
        made = Parts(tokenizer) if hf is None else Whole(hf, self._specials | self._between())
        self.encode: Callable[[Sequence[Written]], list[Encoded]] = made.encode

    @property
    def template(self) -> str:
        """That of conversations without tools."""
        return self._templates[0]

    @property
    def identity(self) -> dict[str, Any]:
        """All that tokens follow from, besides the tokenizer and the records; for digests."""
        asked = {name: list(getattr(self._objective, name)) for name in ('train_on', 'roles')}
        return {'templates': self._templates} | asked

    def write(self, record: Any, where: str) -> Written:
        """The text of a record, and what of it is learnt.

        Args:
          where: what errors begin with, such as 'record 3'.

        Raises:
          UserError: a record that is no conversation, one that the template refuses, or one where
            what is learnt cannot be told from the rest.
        """
        talk = self._guarded(conversation(record, where, self._objective.roles), where)
        wanted = [
            i
            for i, (message, weight) in enumerate(zip(talk.messages, talk.weights))
            if weight and message['role'] in self._objective.train_on
        ]
        try:
            whole = self._show(talk, talk.messages, False)
        except UserError as error:
            raise UserError(f'{where}: {error}') from None
        if self._tagged['tools' in talk.variables]:
            found = self._generations(talk, whole, wanted, where)
        else:
            show = functools.partial(self._show, talk)
            found = spans.of_turns(whole, talk.messages, wanted, show, self._ends, where)
        return Written.of(whole, found)

    def prompt(self, record: Any, where: str = 'the prompt') -> list[int]:
        """What a model reads of a conversation that it is to answer."""
        talk = self._guarded(conversation(record, where, self._objective.roles), where)
        text = self._show(talk, talk.messages, True)
        return self.encode([Written.of(text, ())])[0][0].tolist()

    @functools.cached_property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer: that of the assistant's turn, and the end marker."""
        found = []
        parts = self._example(('user', 'assistant'))
        first = self._ends.search(parts[-1]) if parts else None
        if first:
            found.append(self._added[first[0]])
        if self._tokenizer.end is not None:
            found.append(self._tokenizer.end)
        return tuple(dict.fromkeys(found))

    def _show(self, talk: Conversation, messages, begun: bool, **marks: str) -> str:
        given = self._roles | dict(talk.variables) | {'add_generation_prompt': begun} | marks
        return chat.render(self._templates['tools' in talk.variables], messages, **given)

    def _generations(self, talk, whole: str, wanted: list[int], where: str) -> list[spans.Span]:
        marks = dict(zip(chat.MARKS, (spans.BEGIN, spans.END)))
        text, found = spans.marked(self._show(talk, talk.messages, False, **marks))
        if text != whole:
            raise UserError(f'{where}: the template changes what its {{% generation %}} gives')
        said = [i for i, m in enumerate(talk.messages) if m['role'] == 'assistant']
        if len(wanted) == len(said):
            return found
        if len(found) != len(said):
            raise UserError(
                f'{where} has messages of weight 0, but the template marks {len(found)} parts '
                f'for {len(said)} messages of the assistant; accepted: one each'
            )
        return [span for i, span in zip(said, found) if i in wanted]

    def _others(self, hf: Any) -> dict[str, int]:
        """Added tokens that are not special: they are found in text, too."""
        if hf is None:
            return {}
        return {token.content: i for i, token in hf.backend.get_added_tokens_decoder().items()}

    def _between(self) -> dict[str, int]:
        """Added tokens between messages: what a message spells must not be one, special or not."""
        parts = self._example(('user', 'assistant', 'user', 'assistant'))[1:-1]
        found = (name for part in parts for name in spellings(self._added).findall(part))
        return {name: self._added[name] for name in found}

    def _example(self, roles: Sequence[str]) -> list[str]:
        """What a template writes before, between and after messages; [] where it refuses."""
        messages = [{'role': role, 'content': said} for role, said in zip(roles, PROBE)]
        try:
            text = self._show(Conversation(tuple(messages)), messages, False)
        except UserError:
            return []
        said = [char for char in text if char in PROBE]
        return re.split('|'.join(PROBE), text) if said == list(PROBE[: len(roles)]) else []

    def _guarded(self, talk: Conversation, where: str) -> Conversation:
        """With BREAK in the spelling of special tokens, and no half characters."""
        both = [*talk.messages, dict(talk.variables)]
        odd = (self._names, spans.RESERVED, SURROGATES)
        if not any(pattern.search(s) for s in _strings(both) for pattern in odd):
            return talk
        if bad := next((s for s in _strings(both) if spans.RESERVED.search(s)), None):
            char = spans.RESERVED.search(bad)[0]
            raise UserError(
                f'{where} has the character {char!a}, which Unicode keeps for programs; '
                'accepted: text without U+FDD0 to U+FDEF'
            )
        messages = tuple(_mapped(message, self._broken) for message in talk.messages)
        return Conversation(messages, talk.weights, _mapped(dict(talk.variables), self._broken))

    def _broken(self, text: str) -> str:
        return self._names.sub(lambda m: f'{m[0][0]}{spans.BREAK}{m[0][1:]}', clean(text))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_mapped(item, change) for item in value]
    return value
