"""Conversations: checked (`records`), written by a chat template (`templates`), what of them is
learnt (`spans`), and their tokens (`tokens`). `Format` is all of it for one tokenizer."""

from data.chat.format import Format
from data.chat.records import conversation

__all__ = ['Format', 'conversation']
