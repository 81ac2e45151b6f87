"""What of a conversation's text is learnt, as (begin, end) in characters.

A template that marks it by `{% generation %}` is taken at its word. Of others the text is compared
with that of parts of the conversation: what a message adds to the text that a model would have been
given to answer. Where a template writes the past in another way than the present (it drops earlier
reasoning, it moves the system prompt), what another content of the message would change. Where
neither says for sure, nothing is guessed.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from transformer.errors import UserError

# Characters that no text has, https://www.unicode.org/faq/private_use.html#nonchar_need.
BREAK, BEGIN, END, HOLE = '\ufdd0', '\ufdd1', '\ufdd2', '\ufdd3'
TAIL = 12  # characters that say how what a model is given ends
RESERVED = re.compile('[\ufdd0-\ufdef]')

Span = tuple[int, int]
Show = Callable[[Sequence[dict[str, Any]], bool], str]  # messages, whether an answer is begun


def marked(text: str) -> tuple[str, list[Span]]:
    """The text without BEGIN and END, and where they stood."""
    parts, spans, size, opened = [], [], 0, None
    for part in re.split(f'([{BEGIN}{END}])', text):
        if part == BEGIN:
            opened = size
        elif part == END:
            if opened is not None and size > opened:
                spans.append((opened, size))
            opened = None
        else:
            parts.append(part)
            size += len(part)
    return ''.join(parts), spans


def of_turns(
    whole: str,
    messages: Sequence[dict[str, Any]],
    wanted: Sequence[int],
    show: Show,
    specials: re.Pattern,
    where: str,
) -> list[Span]:
    """What the messages `wanted` add to `whole`, up to the special token that ends their turn.

    Args:
      whole: the text of all messages.
      show: writes some of them; a `UserError` where the template refuses.
      specials: spellings of special tokens.
      where: what errors begin with.

    Raises:
      UserError: it cannot be found.
    """
    spans = []
    for place in wanted:
        ways = (_added, _exchanged)
        if messages[place]['role'] != 'assistant':
            ways = ways[::-1]  # nobody begins their turns: what they add has their name, too
        found = (way(whole, messages, place, show, specials) for way in ways)
        span = next((span for span in found if span), None)
        if span is None or (spans and span[0] < spans[-1][1]):
            role = messages[place]['role']
            raise UserError(
                f'{where}: what the template makes of messages[{place}] ({role}) cannot be told '
                'from the rest; accepted: a template with {% generation %} around what is learnt, '
                'or one that writes a message in the same way whatever follows it'
            )
        spans.append(span)
    return spans


def _added(whole, messages, place: int, show: Show, specials) -> Span | None:
    answers = messages[place]['role'] == 'assistant'
    try:
        before = show(messages[:place], answers)
        last = place + 1 == len(messages)
        after = whole if last else show(messages[: place + 1], False)
    except UserError:  # many refuse to write no message at all, or a part without a user
        return None
    if not (whole.startswith(after) and after.startswith(before)):
        return None
    return len(before), len(before) + _turn_end(after[len(before) :], specials)


def _exchanged(whole, messages, place: int, show: Show, specials) -> Span | None:
    message = messages[place] | {'content': HOLE}
    try:
        other = show([*messages[:place], message, *messages[place + 1 :]], False)
        short = show([*messages[:place], message], False)
    except UserError:
        return None
    if other.count(HOLE) != 1 or short.count(HOLE) != 1:
        return None
    (head, tail), closing = other.split(HOLE), short.split(HOLE)[1]
    closing = closing[: _turn_end(closing, specials)]
    room = len(head) + len(tail) <= len(whole)
    if not (room and whole.startswith(head) and whole.endswith(tail) and tail.startswith(closing)):
        return None
    if not _ends_alone(closing, messages, place, specials):
        return None
    begin = len(head) - _blanks(head, _prompt(messages, place, show))
    return begin, len(whole) - len(tail) + len(closing)


def _ends_alone(closing: str, messages, place: int, specials) -> bool:
    """Whether what follows the content is of the same message: its calls of tools, its end."""
    if set(messages[place]) <= {'role', 'content'}:
        return not specials.sub('', closing, count=1).strip()
    others = (m.get('content') for i, m in enumerate(messages) if i != place)
    return not any(said and said.strip() in closing for said in others)


def _prompt(messages, place: int, show: Show) -> str:
    """What a model is given to write a message; '' where the template writes no such thing."""
    try:
        return show(messages[:place], messages[place]['role'] == 'assistant')
    except UserError:
        return ''


def _turn_end(text: str, specials: re.Pattern) -> int:
    """Where a turn ends: after its last special token, if only blanks follow."""
    ends = [match.end() for match in specials.finditer(text)]
    return ends[-1] if ends and not text[ends[-1] :].strip() else len(text)


def _blanks(head: str, prompt: str) -> int:
    """How many blanks at the end of `head` are not in what a model is given: it writes them."""
    for count in range(len(head) - len(head.rstrip()) + 1):
        if head[: len(head) - count].endswith(prompt[-TAIL:]):
            return count
    return 0
