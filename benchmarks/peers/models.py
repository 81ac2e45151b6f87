"""A model of transformers from a directory that our side wrote."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

transformers.logging.set_verbosity_error()


def load(directory: str, device: str, dtype: str) -> Any:
    """The model, with its parameters from the directory where they are there; else random ones.

    Attention is PyTorch's `scaled_dot_product_attention`.

    Args:
      device: 'cpu' or 'cuda'.
      dtype: of the parameters.
    """
    where = Path(directory) / 'model'
    values = json.loads((where / 'config.json').read_text(encoding='utf-8'))
    kind = getattr(transformers, values['architectures'][0])
    how = {'dtype': getattr(torch, dtype), 'attn_implementation': 'sdpa'}
    if list(where.glob('*.safetensors')):
        return kind.from_pretrained(where, **how).to(device)
    config = kind.config_class.from_pretrained(where)
    with torch.device(device):
        return kind._from_config(config, **how)


def count(model: Any) -> int:
    """Number of parameters; what is shared counts once."""
    return sum(x.numel() for x in model.parameters())
