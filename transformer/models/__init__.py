"""Families of models: a few choices in, a `TransformerConfig` out. One file each."""

from transformer.models.decoder import DecoderOptions

# `config.model.family` picks the options a user sets under `config.model`.
FAMILIES = {'decoder': DecoderOptions}
