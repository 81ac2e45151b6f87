"""Tables of records, one file a kind of file: see `base.Table`."""

from collections.abc import Sequence

from data.sources.origin import SourceFile
from data.sources.tables.arrow import Arrow, Parquet
from data.sources.tables.base import Bad, Table, Together
from data.sources.tables.lines import JsonLines, Lines, Paragraphs, Tabs
from transformer.data_config import SourceConfig
from transformer.errors import UserError

__all__ = ['Bad', 'Table', 'Together', 'of_files', 'of_text']


def of_files(files: Sequence[SourceFile], kind: str, config: SourceConfig) -> Table:
    """The records of files one after the other.

    Args:
      kind: 'jsonl', 'parquet', 'arrow' or 'tsv'.

    Raises:
      UserError: a file that cannot be read, or is not whole.
    """
    if kind in ('jsonl', 'tsv'):
        make = JsonLines if kind == 'jsonl' else Tabs
        tables = [make(file, config) for file in files]
        for other in tables:
            if other.fields != tables[0].fields:
                raise UserError(
                    f'{other.name} has the columns {", ".join(other.fields)}, {tables[0].name} has '
                    f'{", ".join(tables[0].fields)}; files of one source have the same ones'
                )
        return Together(tables)
    make = Parquet if kind == 'parquet' else Arrow
    return Together([make(file) for file in files])


def of_text(files: Sequence[SourceFile], config: SourceConfig) -> Table:
    """Lines or paragraphs, as `config.documents` says."""
    make = Lines if config.documents == 'line' else Paragraphs
    return Together([make(file, config) for file in files])
