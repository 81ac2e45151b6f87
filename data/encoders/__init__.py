"""From records to integers: one file a kind of record."""

from typing import Any

from data.encoders.base import Encoder, in_memory
from data.encoders.chat import ChatEncoder
from data.encoders.classes import ClassEncoder
from data.encoders.pairs import PairEncoder
from data.encoders.tags import TagEncoder
from data.encoders.text import TextEncoder

__all__ = ['ENCODERS', 'Encoder', 'encoder_of', 'in_memory']

ENCODERS = {
    'text': TextEncoder,
    'pairs': PairEncoder,
    'classes': ClassEncoder,
    'tags': TagEncoder,
}


def encoder_of(objective: Any, tokenizer: Any, bad_records: str = 'refuse') -> Encoder:
    """A new encoder of the records that the objective needs.

    Args:
      bad_records: of the source, as of `SourceConfig`.
    """
    if objective.RECORDS == 'chat':  # whether a record is one is seen when it is written
        return ChatEncoder(tokenizer, objective, bad_records)
    return ENCODERS[objective.RECORDS](tokenizer)
