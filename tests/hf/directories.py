"""Small Hugging Face directories with a tokenizer, made without torch and transformers."""

import json
import shutil
from pathlib import Path

import numpy as np
import safetensors.numpy
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

FIXTURES = Path(__file__).with_name('fixtures')
LETTERS = 'abcdefghijklmnopqrstuvwxyz ,.'


def with_tokenizer(name: str, target: Path, framed: bool, sentinels: int = 0) -> Path:
    """A copy of a fixture with a tokenizer of letters that fits its 43 tokens.

    Args:
      sentinels: how many of T5's marks it has.
      framed: whether texts stand between [CLS] and [SEP].
    """
    shutil.copytree(FIXTURES / name, target)
    shutil.rmtree(target / 'kept')
    specials = ['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]']
    specials += [f'<extra_id_{i}>' for i in range(sentinels)]
    vocab = {token: i for i, token in enumerate([*specials, *LETTERS])}
    made = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token='[UNK]'))
    made.pre_tokenizer = pre_tokenizers.Split('', 'isolated')
    made.decoder = decoders.Fuse()
    made.add_special_tokens(specials)
    if framed:
        frame = [('[CLS]', 1), ('[SEP]', 2)]
        made.post_processor = processors.TemplateProcessing(
            single='[CLS] $A [SEP]', special_tokens=frame
        )
    made.save(str(target / 'tokenizer.json'))
    roles = {'pad': '[PAD]', 'cls': '[CLS]', 'sep': '[SEP]', 'mask': '[MASK]', 'unk': '[UNK]'}
    roles |= {'bos': '[CLS]', 'eos': '[SEP]'}
    config = {f'{role}_token': token for role, token in roles.items()}
    config |= {'tokenizer_class': 'PreTrainedTokenizerFast', 'padding_side': 'right'}
    (target / 'tokenizer_config.json').write_text(json.dumps(config))
    return target


def tensors(directory: Path) -> dict[str, np.ndarray]:
    """All tensors of a directory."""
    return safetensors.numpy.load_file(directory / 'model.safetensors')
