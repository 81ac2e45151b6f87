"""Unigram: the most probable pieces, https://arxiv.org/abs/1804.10959."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from data.tokenizer_base import with_end
from data.tokenizers.byte_pairs import PATTERN, room_for_bytes
from data.tokenizers.trained import Trained
from data.tokenizers.training import Texts, most_frequent

NEVER = -1e4  # log-probability of what no text is to be read as


class Unigram(Trained):
    """Pieces of words with their blanks. Nothing is lost.

    Blanks are kept as they are, not written as U+2581, and text is not normalised; a character that
    is no piece becomes its bytes. So the text of the ids of a text is that text.
    """

    @classmethod
    def train(cls, texts: Texts, vocab: int, special_tokens: Sequence[str]) -> 'Unigram':
        """Learns `vocab` tokens from the training records.

        Raises:
          ConfigError: too small a vocabulary for all bytes and the special tokens.
        """
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers

        special_tokens = with_end(special_tokens)
        room_for_bytes(vocab, special_tokens)
        room = vocab - 256 - len(special_tokens)
        # No special token and no name of a byte is within a word: text cannot be read as one.
        words = pre_tokenizers.Split(tokenizers.Regex(PATTERN), 'isolated')
        learnt = _learnt(texts, words, room)
        apart = [*special_tokens, *(f'<0x{i:02X}>' for i in range(256))]
        names = set(apart)
        entries = [(name, NEVER) for name in apart] + [e for e in learnt if e[0] not in names]
        tokenizer = tokenizers.Tokenizer(
            models.Unigram(entries, unk_id=len(special_tokens), byte_fallback=True)
        )
        tokenizer.pre_tokenizer = words
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        tokenizer.add_special_tokens(special_tokens)
        return cls(tokenizer)


def _learnt(texts: Texts, words: Any, room: int) -> list[tuple[str, float]]:
    """At most `room` pieces with their log-probabilities, the most probable first.

    At most half are single characters, the most frequent ones: the library would need all.
    """
    import tokenizers
    from tokenizers import models, trainers

    counts = texts.counts()
    alphabet = most_frequent(counts, room // 2)
    if not alphabet:
        return []
    learner = tokenizers.Tokenizer(models.Unigram())
    learner.pre_tokenizer = words
    trainer = trainers.UnigramTrainer(vocab_size=room, unk_token=None, show_progress=False)
    rare = ''.join(counts.keys() - set(alphabet))
    learner.train_from_iterator(_without(texts.sample(), rare), trainer)
    found = json.loads(learner.to_str())['model']['vocab']
    # Rounded and sorted, as their last bits depend on the order of sums.
    found = [(piece, round(score, 6)) for piece, score in found if piece]
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))[:room]


def _without(texts: Iterator[str], rare: str) -> Iterator[str]:
    """The texts, parted at rare characters."""
    if not rare:
        return texts
    pattern = re.compile(f'[{re.escape(rare)}]+')
    return (part for text in texts for part in pattern.split(text))
