"""A model of transformers from a directory that our side wrote."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

transformers.logging.set_verbosity_error()


def load(directory: str, device: str, dtype: str) -> Any:
    """The model, with its parameters from the directory where they are there; else random ones.

    Attention is PyTorch's `scaled_dot_product_attention`, and so is GELU by tanh PyTorch's own: as
    'gelu_new' it would be seven operations, each through memory.

    Args:
      device: 'cpu' or 'cuda'.
      dtype: of the parameters.
    """
    where = Path(directory) / 'model'
    values = json.loads((where / 'config.json').read_text(encoding='utf-8'))
    kind = getattr(transformers, values['architectures'][0])
    how = {'dtype': getattr(torch, dtype), 'attn_implementation': 'sdpa'}
    config = kind.config_class.from_pretrained(where)
    if getattr(config, 'activation_function', '') == 'gelu_new':
        config.activation_function = 'gelu_pytorch_tanh'
    if list(where.glob('*.safetensors')):
        model = kind.from_pretrained(where, config=config, **how)
        for x in model.parameters():  # from pages of the file to memory of its own
            x.data = x.data.clone()
        return model.to(device)
    with torch.device(device):
        return kind._from_config(config, **how)


def count(model: Any) -> int:
    """Number of parameters; what is shared counts once."""
    return sum(x.numel() for x in model.parameters())
