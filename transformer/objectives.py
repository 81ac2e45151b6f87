"""What a model is trained to do: the settings of each objective, and which model it needs.

`data/objectives/` makes the batches; `losses.py` scores them.
"""

import dataclasses
from pathlib import Path
from typing import Any

from transformer.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Objective:
    """Attributes:

    kind: key of `OBJECTIVES`.
    smoothing: share of the target's probability spread over all classes,
      https://arxiv.org/abs/1512.00567.
    """

    # What it needs: a kind of model, a head, and a kind of data (`data.sources`), or 'none'.
    SHAPE, HEAD, RECORDS = 'decoder', 'tokens', 'text'

    kind: str = ''
    smoothing: float = 0.0

    def __post_init__(self):
        self._require('smoothing', 0 <= self.smoothing < 1, 'from 0 to below 1')

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Tokens that the tokenizer needs besides those of the text."""
        return ()

    @property
    def reads_text(self) -> bool:
        """Whether a tokenizer makes the tokens."""
        return self.RECORDS not in ('images', 'none')

    @property
    def vocab(self) -> int:
        """Tokens that there are without a tokenizer; 0 where it says, and for images."""
        return 0

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ConfigError(f'objective.{name}', getattr(self, name), accepted)


@dataclasses.dataclass(frozen=True)
class NextToken(Objective):
    """Each token from those before it."""

    kind: str = 'next_token'


@dataclasses.dataclass(frozen=True)
class Prefix(Objective):
    """A random prefix is read in both directions, the rest predicted, arxiv.org/abs/1910.10683."""

    kind: str = 'prefix'


@dataclasses.dataclass(frozen=True)
class Chat(Objective):
    """What the assistant says in a conversation, from all that was said before.

    Attributes:
      template: how a conversation is written: the text of a Jinja chat template, or the path of a
        file that holds one; '' means the tokenizer's own, or where it has none one of
        `data.chat.templates`.
      train_on: roles whose messages are learnt.
      roles: roles that messages may have.
      markers: tokens that a tokenizer which is trained keeps apart for the template.
    """

    RECORDS = 'chat'
    kind: str = 'chat'
    template: str = ''
    train_on: tuple[str, ...] = ('assistant',)
    roles: tuple[str, ...] = ('system', 'developer', 'user', 'assistant', 'tool', 'function')
    markers: tuple[str, ...] = ('<|im_start|>', '<|im_end|>')

    def __post_init__(self):
        super().__post_init__()
        known = set(self.train_on) <= set(self.roles)
        accepted = f'at least one of {", ".join(self.roles)} (config.objective.roles)'
        self._require('train_on', bool(self.train_on) and known, accepted)
        if self.template and '{' not in self.template:
            # The text takes the place of the path: the file may change, a run must not.
            object.__setattr__(self, 'template', self._read())

    def _read(self) -> str:
        accepted = 'the text of a Jinja template, or a UTF-8 file that holds one'
        try:
            text = Path(self.template).expanduser().read_text(encoding='utf-8')
        except (OSError, ValueError) as error:
            why = f'{accepted} ({error})'
            raise ConfigError('objective.template', self.template, why) from None
        if '{' not in text:
            raise ConfigError('objective.template', self.template, accepted)
        return text

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return self.markers


@dataclasses.dataclass(frozen=True)
class FillInMiddle(Objective):
    """Next tokens, of texts whose middle often comes last, https://arxiv.org/abs/2207.14255.

    Attributes:
      rate: share of the pieces of documents that are turned round.
      spm_rate: share of these in which the suffix comes before the prefix, not after.
      markers: tokens before the prefix, the middle and the suffix.
    """

    kind: str = 'fill_in_middle'
    rate: float = 0.5
    spm_rate: float = 0.5
    markers: tuple[str, ...] = ('<|fim_prefix|>', '<|fim_middle|>', '<|fim_suffix|>')

    def __post_init__(self):
        super().__post_init__()
        self._require('rate', 0 <= self.rate <= 1, 'from 0 to 1')
        self._require('spm_rate', 0 <= self.spm_rate <= 1, 'from 0 to 1')
        names = set(self.markers)
        distinct = len(self.markers) == len(names) == 3 and all(names)
        self._require('markers', distinct, 'three different names: of prefix, middle and suffix')

    @property
    def gap(self) -> str:
        """What stands in a prompt where the middle belongs."""
        return self.markers[1]

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return self.markers


MASK, START, SEPARATOR = '[MASK]', '[CLS]', '[SEP]'


@dataclasses.dataclass(frozen=True)
class Masked(Objective):
    """Hidden tokens from all around them, https://arxiv.org/abs/1810.04805.

    The choice is drawn anew at each epoch, https://arxiv.org/abs/1907.11692.

    Attributes:
      rate: share of the tokens that are chosen.
      mask: share of the chosen that become [MASK].
      random: share of the chosen that become a random token; the rest stays.
      whole_words: whether all tokens of a word are chosen together.
    """

    SHAPE, HEAD, RECORDS = 'encoder', 'masked', 'text'
    kind: str = 'masked'
    rate: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False

    def __post_init__(self):
        super().__post_init__()
        self._require('rate', 0 < self.rate < 1, 'between 0 and 1')
        self._require('mask', 0 <= self.mask <= 1, 'from 0 to 1')
        room = 1 - self.mask
        self._require('random', 0 <= self.random <= room + 1e-9, f'from 0 to {room:.3g}')

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return (MASK,)


@dataclasses.dataclass(frozen=True)
class SpanCorruption(Objective):
    """Cut-out spans, each after its sentinel, https://arxiv.org/abs/1910.10683.

    Attributes:
      rate: share of the tokens that are cut out.
      mean_span: mean length of a span, in tokens.
      sentinels: how many marks there are; a row cannot have more spans.
    """

    SHAPE, HEAD, RECORDS = 'encoder_decoder', 'tokens', 'text'
    kind: str = 'span_corruption'
    rate: float = 0.15
    mean_span: float = 3.0
    sentinels: int = 100

    def __post_init__(self):
        super().__post_init__()
        self._require('rate', 0 < self.rate < 1, 'between 0 and 1')
        self._require('mean_span', 1 <= self.mean_span < 1e6, 'from 1 to below 1000000')
        self._require('sentinels', self.sentinels > 0, 'at least 1')

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return tuple(f'<extra_id_{i}>' for i in range(self.sentinels))


@dataclasses.dataclass(frozen=True)
class Denoising(Objective):
    """The whole text from a damaged one, https://arxiv.org/abs/1910.13461.

    Attributes:
      rate: share of the tokens that are hidden by text infilling.
      mean_span: mean of the Poisson distribution of span lengths; a span of 0 inserts a mask.
      permute_sentences: whether sentences are shuffled.
    """

    SHAPE, HEAD, RECORDS = 'encoder_decoder', 'tokens', 'text'
    kind: str = 'denoising'
    rate: float = 0.3
    mean_span: float = 3.0
    permute_sentences: bool = True

    def __post_init__(self):
        super().__post_init__()
        self._require('rate', 0 < self.rate < 1, 'between 0 and 1')
        self._require('mean_span', 0.1 <= self.mean_span < 1e6, 'from 0.1 to below 1000000')

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return (MASK,)


@dataclasses.dataclass(frozen=True)
class Seq2Seq(Objective):
    """One text from another, teacher forced, https://arxiv.org/abs/1409.3215.

    Attributes:
      source: suffix of the files of source texts, such as 'de'.
      target: suffix of the files of target texts, such as 'en'.
      lowercase: whether both sides are lower-cased.
    """

    SHAPE, HEAD, RECORDS = 'encoder_decoder', 'tokens', 'pairs'
    kind: str = 'seq2seq'
    source: str = 'de'
    target: str = 'en'
    lowercase: bool = False


@dataclasses.dataclass(frozen=True)
class Classification(Objective):
    """The class of a text; it begins with [CLS]."""

    SHAPE, HEAD, RECORDS = 'encoder', 'class', 'classes'
    kind: str = 'classification'

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return (MASK, START, SEPARATOR)


@dataclasses.dataclass(frozen=True)
class TokenClassification(Objective):
    """The tag of each word, at its first token."""

    SHAPE, HEAD, RECORDS = 'encoder', 'token_class', 'tags'
    kind: str = 'token_classification'


@dataclasses.dataclass(frozen=True)
class ImageClassification(Objective):
    """The class of an image."""

    SHAPE, HEAD, RECORDS = 'vision', 'class', 'images'
    kind: str = 'image_classification'


OBJECTIVES = {
    objective.kind: objective
    for objective in (
        NextToken,
        Prefix,
        FillInMiddle,
        Masked,
        SpanCorruption,
        Denoising,
        Seq2Seq,
        Classification,
        TokenClassification,
        ImageClassification,
        Chat,
    )
}


def settle(config: Any) -> None:
    """Puts the text of a chat template in the place of its path, in a ConfigDict."""
    objective = config.get('objective')
    if objective and objective.get('kind') == Chat.kind:
        objective.template = Chat(template=objective.template).template
