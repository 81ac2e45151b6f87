"""Which fields of `SourceConfig` are read, by where records come from and of which kind they are.

What is set and not read is refused. `dataset` may always be set: `path` is used instead.
"""

import dataclasses
from collections.abc import Iterable

from transformer.data_config import SourceConfig
from transformer.errors import ConfigError

SPLITS = ('train_split', 'validation_split', 'test_split')
DECODED = ('encoding', 'encoding_errors')
FILES = ('format', *SPLITS, *DECODED, 'validation_fraction', 'bad_records')
# Text in their columns is UTF-8, but where it is binary nobody has looked.
COLUMNS = tuple(name for name in FILES if name != 'encoding')
WAYS = {
    'a text file': ('documents', 'format', *SPLITS, *DECODED, 'validation_fraction'),
    'files of text': ('documents', *FILES),
    'jsonl': FILES,
    'tsv': FILES,
    'parquet': COLUMNS,
    'arrow': COLUMNS,
    'a folder of TFDS': COLUMNS,
    'tfds': ('directory', *COLUMNS),
    'a folder of Hugging Face': COLUMNS,
    'hf': ('directory', *COLUMNS),
    'two files a split': ('format', *SPLITS, *DECODED),
    'a file a class': ('format', *DECODED, 'validation_fraction'),
    'a CoNLL file': ('format', *DECODED, 'validation_fraction'),
    'CoNLL files by split': ('format', *SPLITS, *DECODED),
    'folders of images': ('format', 'validation_fraction'),
    'folders of images by split': ('format', *SPLITS, 'validation_fraction'),
    'sklearn_digits': ('validation_fraction',),
}
TABLES = ('jsonl', 'tsv', *(way for way, fields in WAYS.items() if fields[-len(COLUMNS) :] == COLUMNS))
# Of a record of a table.
FIELDS = {
    'text': ('text_field',),
    'pairs': (),
    'classes': ('text_field', 'label_field'),
    'tags': ('text_field', 'label_field'),
    'images': ('label_field',),
    'chat': ('text_field',),
}
