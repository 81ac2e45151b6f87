"""What tests of sources have in common."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from data import sources
from transformer.data_config import SourceConfig


def load(objective, path='', **fields):
    return sources.load(SourceConfig(path=str(path), **fields), objective)


def both(corpus):
    return [*corpus.train, *corpus.validation]


def write(path, records):
    if path.suffix == '.parquet':
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text(''.join(json.dumps(record) + '\n' for record in records))
    return path
