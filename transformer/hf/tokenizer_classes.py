"""What a tokenizer's class adds to its files: the directories of older models count on it.

The facts are those of `transformers` 5: names of special tokens, the side of padding, and how
BERT's and GPT-2's kinds are made from a bare vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer.errors import UserError

FILE = 'tokenizer.json'
SENTENCEPIECE = ('spiece.model', 'tokenizer.model', 'sentencepiece.bpe.model', 'source.spm')

_BERT = {
    'unk_token': '[UNK]',
    'sep_token': '[SEP]',
    'pad_token': '[PAD]',
    'cls_token': '[CLS]',
    'mask_token': '[MASK]',
}
_END = '<|endoftext|>'
_GPT2 = {'unk_token': _END, 'bos_token': _END, 'eos_token': _END}
_PIECES = {'unk_token': '<unk>', 'bos_token': '<s>', 'eos_token': '</s>'}
_ROBERTA = _PIECES | {
    'sep_token': '</s>',
    'pad_token': '<pad>',
    'cls_token': '<s>',
    'mask_token': '<mask>',
}
_GEMMA = {
    'unk_token': '<unk>',
    'bos_token': '<bos>',
    'eos_token': '<eos>',
    'pad_token': '<pad>',
    'mask_token': '<mask>',
}
_ALBERT = _BERT | {
    'unk_token': '<unk>',
    'pad_token': '<pad>',
    'bos_token': '[CLS]',
    'eos_token': '[SEP]',
}
# Classes by name without 'Fast': the special tokens of directories that do not list them.
CLASSES: dict[str, dict[str, str]] = {
    'BertTokenizer': _BERT,
    'DistilBertTokenizer': _BERT,
    'ElectraTokenizer': _BERT,
    'AlbertTokenizer': _ALBERT,
    'GPT2Tokenizer': _GPT2,
    'RobertaTokenizer': _ROBERTA,
    'BartTokenizer': _ROBERTA,
    'XLMRobertaTokenizer': _ROBERTA,
    'T5Tokenizer': {'unk_token': '<unk>', 'eos_token': '</s>', 'pad_token': '<pad>'},
    'LlamaTokenizer': _PIECES,
    'GemmaTokenizer': _GEMMA,
    'Qwen2Tokenizer': {'unk_token': _END, 'eos_token': _END, 'pad_token': _END},
    'GPTNeoXTokenizer': _GPT2 | {'pad_token': '<|padding|>'},
}
TYPED = ('BertTokenizer', 'ElectraTokenizer')  # their models read token_type_ids
UNTYPED = ('DistilBertTokenizer',)
LEFT = ('LlamaTokenizer', 'GemmaTokenizer', 'CodeLlamaTokenizer', 'CohereTokenizer')
# The class of directories that name none.
OF_MODEL = {
    'bert': 'BertTokenizer',
    'electra': 'BertTokenizer',
    'distilbert': 'DistilBertTokenizer',
    'albert': 'AlbertTokenizer',
    'roberta': 'RobertaTokenizer',
    'bart': 'RobertaTokenizer',
    'xlm-roberta': 'XLMRobertaTokenizer',
    'gpt2': 'GPT2Tokenizer',
    'gpt_neo': 'GPT2Tokenizer',
    'gptj': 'GPT2Tokenizer',
    'opt': 'GPT2Tokenizer',
    'phi': 'GPT2Tokenizer',
    'starcoder2': 'GPT2Tokenizer',
    'gpt_neox': 'GPTNeoXTokenizer',
    'mamba': 'GPTNeoXTokenizer',
    'mamba2': 'GPTNeoXTokenizer',
    'olmo': 'GPTNeoXTokenizer',
    't5': 'T5Tokenizer',
    'mt5': 'T5Tokenizer',
    'gemma': 'GemmaTokenizer',
    'gemma2': 'GemmaTokenizer',
    'gemma3_text': 'GemmaTokenizer',
    'qwen2': 'Qwen2Tokenizer',
    'qwen2_moe': 'Qwen2Tokenizer',
    'qwen3': 'Qwen2Tokenizer',
    'qwen3_moe': 'Qwen2Tokenizer',
}
GENERIC_MODELS = ('mistral', 'mixtral', 'phi3')  # they name LlamaTokenizer and mean none


def content(token: Any) -> str:
    """The text of a token: files hold it bare or with its properties."""
    return str(token['content']) if isinstance(token, Mapping) else str(token)


def class_of(config: Mapping[str, Any], model: Mapping[str, Any], directory: Path) -> str:
    """The class that a directory names or means, without 'Fast'; '' where it does not matter."""
    named = config.get('tokenizer_class') or model.get('tokenizer_class')
    if not named:
        return OF_MODEL.get(model.get('model_type', ''), '')
    named = str(named).removesuffix('Fast')
    if named == 'LlamaTokenizer':
        file = directory / FILE
        of_bytes = file.is_file() and '"ByteLevel"' in file.read_text('utf-8', errors='replace')
        if of_bytes or model.get('model_type') in GENERIC_MODELS:
            return ''
    return named


def from_vocabulary(directory: Path, kind: str, config: Mapping[str, Any]) -> Any:
    """The backend of a directory from before `tokenizer.json`: BERT's and GPT-2's kinds.

    Raises:
      UserError: another kind, or a damaged one.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    words, pairs, merges = (directory / n for n in ('vocab.txt', 'vocab.json', 'merges.txt'))
    how = (
        f'to convert it where transformers is: python -c "import transformers as t; '
        f"t.AutoTokenizer.from_pretrained('{directory}').save_pretrained('{directory}')\""
    )
    bert, bytes_ = CLASSES.get(kind) is _BERT, CLASSES.get(kind) in (_GPT2, _ROBERTA)
    try:
        if words.is_file() and bert:
            vocab = models.WordPiece.read_file(str(words))
            unk = content(config.get('unk_token') or '[UNK]')
            made = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token=unk))
            made.normalizer = _bert_normalizer(config)
            made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            made.decoder = decoders.WordPiece(prefix='##')
            return made
        if pairs.is_file() and merges.is_file() and bytes_:
            vocab, ranks = models.BPE.read_file(str(pairs), str(merges))
            parts = {'continuing_subword_prefix': '', 'end_of_word_suffix': ''}
            made = tokenizers.Tokenizer(models.BPE(vocab, ranks, **parts))
            prefix = bool(config.get('add_prefix_space', False))
            made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
            made.decoder = decoders.ByteLevel()
            return made
    except Exception as error:  # the library raises bare Exception
        raise UserError(f'the vocabulary of {directory} is damaged: {error}') from None
    held = [p.name for p in (words, pairs) if p.is_file()]
    held += [name for name in SENTENCEPIECE if (directory / name).is_file()]
    if not held:
        raise UserError(f'{directory} has no tokenizer: there is no {FILE}')
    named = f' of {kind}' if kind else ', names no class,'
    raise UserError(f'{directory} has {held[0]}{named} and no {FILE}; {how}')


def _bert_normalizer(config: Mapping[str, Any]) -> Any:
    from tokenizers import normalizers

    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get('tokenize_chinese_chars', True),
        strip_accents=config.get('strip_accents'),
        lowercase=config.get('do_lower_case', True),
    )


def lowercased(backend: Any, kind: str, config: Mapping[str, Any]) -> Any:
    """BERT's `do_lower_case` goes before what `tokenizer.json` says."""
    stated = 'do_lower_case' in config
    if stated and kind in CLASSES and CLASSES[kind] is _BERT:
        backend.normalizer = _bert_normalizer(config)
    return backend


def enclose(backend: Any, kind: str, config: Mapping[str, Any], roles: Mapping[str, str]) -> None:
    """The special tokens that an old directory's class puts around texts."""
    from tokenizers import processors

    number = {role: (name, backend.token_to_id(name)) for role, name in roles.items()}
    if CLASSES[kind] is _BERT:
        cls, sep = roles['cls_token'], roles['sep_token']
        backend.post_processor = processors.TemplateProcessing(
            single=f'{cls}:0 $A:0 {sep}:0',
            pair=f'{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1',
            special_tokens=[number['cls_token'], number['sep_token']],
        )
    elif CLASSES[kind] is _ROBERTA:
        prefix = bool(config.get('add_prefix_space', False))
        trim = bool(config.get('trim_offsets', True))
        backend.post_processor = processors.RobertaProcessing(
            number['sep_token'], number['cls_token'], trim, prefix
        )
    else:
        used = [r for r in ('bos_token', 'eos_token') if config.get(f'add_{r}') and r in roles]
        before = [roles['bos_token']] if 'bos_token' in used else []
        after = [roles['eos_token']] if 'eos_token' in used else []
        backend.post_processor = processors.TemplateProcessing(
            single=[*before, '$A', *after],
            pair=[*before, '$A:0', *after, *(f'{b}:1' for b in before), '$B:1']
            + [f'{a}:1' for a in after],
            special_tokens=[number[role] for role in used],
        )
