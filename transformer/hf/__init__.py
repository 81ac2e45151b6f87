"""Hugging Face checkpoints: `load` one, call it, fine-tune it, `save` it again.

    from transformer import hf
    pretrained = hf.load('path/to/checkpoint')
    logits = pretrained(**pretrained.tokenizer(['Hello'])).logits

Families are tables in `transformer/models/checkpoints/`. Nothing in a directory is ever executed.
"""

from transformer.hf.pretrained import Outputs, Pretrained, load, save

__all__ = ['Outputs', 'Pretrained', 'load', 'save']
