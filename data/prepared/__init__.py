"""Records encoded once and kept: sharded `array_record` files and a manifest.

An interrupted preparation goes on after its last whole part, and ends with the same bytes as one
that was not interrupted. `data.prepared.layout` says which files there are.
"""

from data.prepared.recipe import chosen
from data.prepared.sets import examples, root_of, there
from data.prepared.store import manifest, prepare, verify
from data.prepared.store import open_split as open
from data.prepared.vocabulary import TOKENIZER, tokenizer_of

__all__ = [
    'TOKENIZER',
    'chosen',
    'examples',
    'manifest',
    'open',
    'prepare',
    'root_of',
    'there',
    'tokenizer_of',
    'verify',
]
