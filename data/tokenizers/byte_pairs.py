"""Byte-level BPE, https://arxiv.org/abs/1508.07909."""

from collections.abc import Sequence

from data.tokenizer_base import with_end
from data.tokenizers.trained import Trained
from data.tokenizers.training import Texts
from transformer.errors import ConfigError

# Words with one leading blank, short runs of digits, runs of punctuation, blanks with their
# line ends: indentation stays together, which halves the tokens of source code.
PATTERN = (
    r'[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+\s*|\s+(?!\S)|\s+'
)


class BytePairs(Trained):
    """Pairs of bytes and of what was made of them, the most frequent first. Nothing is lost."""

    @classmethod
    def train(cls, texts: Texts, vocab: int, special_tokens: Sequence[str]) -> 'BytePairs':
        """Learns `vocab` tokens from the training records.

        Raises:
          ConfigError: too small a vocabulary for all bytes and the special tokens.
        """
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, trainers

        alphabet, special_tokens = pre_tokenizers.ByteLevel.alphabet(), with_end(special_tokens)
        room_for_bytes(vocab, special_tokens)
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(PATTERN), 'isolated'),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=special_tokens,
            initial_alphabet=sorted(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts.sample(), trainer)
        return cls(tokenizer)


def room_for_bytes(vocab: int, special_tokens: Sequence[str]) -> None:
    """Refuses a vocabulary without room for all bytes and the special tokens."""
    if vocab < 256 + len(special_tokens):
        what = 'the end marker' if len(special_tokens) == 1 else 'the special tokens'
        accepted = f'at least {256 + len(special_tokens)}: every byte and {what}'
        raise ConfigError('data.vocab', vocab, accepted)
