"""WordPiece as BERT has it, https://arxiv.org/abs/1609.08144."""

import collections
import json
from collections.abc import Sequence
from typing import Any

from data.tokenizer_base import with_end
from data.tokenizers.trained import Trained
from data.tokenizers.training import Texts, most_frequent
from transformer.errors import ConfigError

UNKNOWN, GOES_ON = '[UNK]', '##'


class WordPieces(Trained):
    """Words and parts of words; '##' is before a part that goes on.

    Text is lost by design: white space becomes one blank, control characters go, with `lowercase`
    so do capitals and accents; a word with a character that training did not keep, or of more than
    100 characters, is [UNK]. What `decode` gives has its blanks where English would.
    """

    @classmethod
    def train(
        cls, texts: Texts, vocab: int, special_tokens: Sequence[str], lowercase: bool = False
    ) -> 'WordPieces':
        """Learns `vocab` tokens from the training records.

        At most a quarter of the vocabulary is single characters, the most frequent ones, each alone
        and with '##'.

        Raises:
          ConfigError: too small a vocabulary for some characters and the special tokens.
        """
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

        names = [*with_end(special_tokens), UNKNOWN]
        if vocab < len(names) + 8:
            accepted = f'at least {len(names) + 8}: the special tokens and some characters'
            raise ConfigError('data.vocab', vocab, accepted)

        def empty(model: models.Model) -> tokenizers.Tokenizer:
            made = tokenizers.Tokenizer(model)
            made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
            made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            made.decoder = decoders.WordPiece(GOES_ON)
            return made

        learner = empty(models.WordPiece(unk_token=UNKNOWN))
        most = (vocab - len(names)) // 4
        alphabet = _alphabet(texts, learner.normalizer, most)
        # The library numbers parts as it meets them, in no fixed order, unless they are given.
        given = [*names, *(GOES_ON + character for character in alphabet)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab,
            special_tokens=given,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        learner.train_from_iterator(texts.sample(), trainer)
        learnt = json.loads(learner.to_str())['model']['vocab']
        ordered = dict.fromkeys([*names, *sorted(learnt, key=learnt.get)])
        tokenizer = empty(
            models.WordPiece({token: i for i, token in enumerate(ordered)}, unk_token=UNKNOWN)
        )
        tokenizer.add_special_tokens(names)
        return cls(tokenizer)


def _alphabet(texts: Texts, normalizer: Any, most: int) -> list[str]:
    """The most frequent characters of normalised text, sorted."""
    found = collections.Counter()
    for character, count in texts.counts().items():
        for made in normalizer.normalize_str(character):
            if not made.isspace():
                found[made] += count
    return most_frequent(found, most)
