"""The classes that most families of decoders have, whose heads differ in a name or two."""

from collections.abc import Callable
from typing import Any

from transformer.heads import ClassHeadConfig, TokenClassHeadConfig
from transformer.hf.rules import Rule, linear
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Head


def decoder_heads(
    name: str,
    token_head: Callable[[Settings], Any],
    token_classes: Callable[[Settings], Any] | None = None,
    *,
    tokens: str = 'lm_head',
    labels: str = 'classifier',
    answers: bool = True,
) -> dict[str, Head]:
    """The classes of a family.

    Args:
      name: what they all begin with, such as 'GPTNeoX'.
      token_head: from settings to the config of the language model's head.
      token_classes: to that of the classes of tokens; None means that there is no such class.
      tokens: their name of the language model's last map.
      labels: of that of the classes of tokens.
      answers: whether there is a class that answers questions.
    """
    kernel = Rule('head/kernel', f'{tokens}.weight'), Rule('head/bias', f'{tokens}.bias')
    found = {
        f'{name}ForCausalLM': Head('tokens', token_head, kernel),
        f'{name}Model': Head(base=True),
        f'{name}ForSequenceClassification': Head(
            'class',
            lambda s: ClassHeadConfig(len(s.labels), 'last', bias=False),
            linear('head/classes', 'score', 'c', 'd'),
        ),
    }
    if token_classes is not None:
        rules = linear('head/classes', labels, 'c', 'd')
        found[f'{name}ForTokenClassification'] = Head('token_class', token_classes, rules)
    if answers:
        rules = linear('head/classes', 'qa_outputs', 'c', 'd')
        found[f'{name}ForQuestionAnswering'] = Head(
            'span', lambda s: TokenClassHeadConfig(2), rules
        )
    return found


def own_or_hidden(otherwise: float) -> Callable[[Settings], TokenClassHeadConfig]:
    """Classes of tokens, before which as much is dropped as one of two fields says."""

    def made(s: Settings) -> TokenClassHeadConfig:
        rate = s.first(('classifier_dropout', 'hidden_dropout'), otherwise)
        return TokenClassHeadConfig(len(s.labels), rate)

    return made


def size(s: Settings, names: tuple[str, ...], default: int) -> int:
    """A whole number above 0 under the first of several names that is there."""
    found = [name for name in names if s.get(name) is not None]
    return s.size(found[0] if found else names[0], default)


def head_width(width: int, heads: int, name: str = 'num_attention_heads') -> int:
    """H, where the heads divide the width between them.

    Raises:
      UserError: they cannot.
    """
    if width % heads:
        raise refusal(name, heads, f'a divisor of {width}, the width of the model')
    return width // heads
