"""Families of models: a few choices in, a config of blocks out. One file each.

`decoder.py`, `encoder.py`, `encoder_decoder.py` and `vision.py` hold the choices; the other files
are tables of published models made of them. `imported.py` is a model by its Hugging Face
config.json; `checkpoints/` has a table for each of those families.
"""

from transformer.models.decoder import DecoderOptions
from transformer.models.encoder import EncoderOptions
from transformer.models.encoder_decoder import EncoderDecoderOptions
from transformer.models.imported import ImportedOptions
from transformer.models.vision import VisionOptions

# `config.model.family` picks the options a user sets under `config.model`.
FAMILIES = {
    'decoder': DecoderOptions,
    'encoder': EncoderOptions,
    'encoder_decoder': EncoderDecoderOptions,
    'vision': VisionOptions,
    'imported': ImportedOptions,
}
