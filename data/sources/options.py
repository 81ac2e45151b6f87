"""Which fields of `SourceConfig` are read, by where records come from and of which kind they are.

What is set and not read is refused. `dataset` may always be set: a `path` takes its place.
"""

import dataclasses

from transformer.data_config import SourceConfig
from transformer.errors import ConfigError

ALWAYS = ('dataset', 'path')
SPLITS = ('train_split', 'validation_split', 'test_split')
DECODED = ('encoding', 'encoding_errors')
LINES = ('format', *SPLITS, *DECODED, 'validation_fraction', 'bad_records')
# Text in columns is UTF-8; whether it really is, nobody has looked where they are binary.
COLUMNS = ('format', *SPLITS, 'encoding_errors', 'validation_fraction', 'bad_records')
TABLES = {
    'jsonl': LINES,
    'tsv': LINES,
    'parquet': COLUMNS,
    'arrow': COLUMNS,
    'a folder of TFDS': COLUMNS,
    'tfds': ('directory', *COLUMNS),
    'a folder of Hugging Face': COLUMNS,
    'hf': ('directory', *COLUMNS),
}
OTHERS = {
    'one text file': ('documents', 'format', *DECODED, 'validation_fraction'),
    'text files': ('documents', *LINES),
    'two files a split': ('prefix', 'format', *SPLITS, *DECODED),
    'a file a class': ('format', *DECODED, 'validation_fraction'),
    'a file a class, as pairs': ('prefix', 'format', *DECODED, 'validation_fraction'),
    'a CoNLL file': ('format', *DECODED, 'validation_fraction'),
    'CoNLL files by split': ('format', *SPLITS, *DECODED),
    'folders of images': ('format', 'validation_fraction'),
    'folders of images by split': ('format', *SPLITS, 'validation_fraction'),
    'sklearn_digits': ('validation_fraction',),
}
# Of a record of a table: what it is called, and which more fields of the config it follows from.
RECORDS = {
    'text': ('text', ('text_field',)),
    'pairs': ('pairs', ('prefix',)),
    'classes': ('texts with a class', ('text_field', 'label_field')),
    'tags': ('tagged words', ('text_field', 'label_field')),
    'images': ('images', ('label_field',)),
    'chat': ('conversations', ('text_field',)),
}


def refuse_unread(config: SourceConfig, records: str, way: str, has_validation: bool) -> None:
    """Refuses fields that are set and of no use.

    Args:
      records: a key of `RECORDS`.
      way: a key of `TABLES` or `OTHERS`.
      has_validation: whether there is a validation split: nothing need be held out.

    Raises:
      ConfigError: the first of these fields, and what it may be.
    """
    called, named = RECORDS[records]
    read = {*ALWAYS, *(OTHERS[way] if way in OTHERS else (*TABLES[way], *named))}
    why = f'as {called} from {way} have no use for it'
    for field in dataclasses.fields(SourceConfig):
        value = getattr(config, field.name)
        if value != field.default and field.name not in read:
            raise ConfigError(f'data.{field.name}', value, f'{field.default!r}, {why}')
    share, usual = config.validation_fraction, SourceConfig.validation_fraction
    if has_validation and share != usual:
        accepted = f'{usual!r}, as there is a validation split: nothing is held out'
        raise ConfigError('data.validation_fraction', share, accepted)
