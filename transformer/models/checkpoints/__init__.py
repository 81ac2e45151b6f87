"""Families of Hugging Face checkpoints, one file each: config.json -> model, tensor <-> parameter.

Each file has `FAMILIES`, a tuple of `transformer.hf.table.Family`; nothing else lists them.
"""
