"""The original's side of a comparison. Needs torch and transformers."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.hf.cases import Case


def make(case: Case) -> Any:
    """A model with all its parameters and persistent numbers random, none at a zero or a one."""
    import torch
    import transformers

    torch.manual_seed(sum(map(ord, case.name)))
    kind = getattr(transformers, case.model)
    model = kind(kind.config_class(**case.config)).eval()
    with torch.no_grad():
        for name, x in model.named_parameters():
            middle = 1.0 if x.ndim == 1 and name.endswith('weight') else 0.0
            x.copy_(middle + 0.25 * torch.randn_like(x))
        for copy, source in (model._tied_weights_keys or {}).items():
            # A bias that is there twice: untied, only one is read, and they start the same.
            if copy.endswith('.bias') and source.endswith('.bias'):
                model.get_parameter(copy).copy_(model.get_parameter(source))
    if case.files != 'float32':
        # What a file of fewer bits holds, computed with in float32. What is no part of a file, such
        # as rotary frequencies, keeps all its bits.
        dtype, held = getattr(torch, case.files), model.state_dict()
        model.load_state_dict({name: x.to(dtype).to(x.dtype) for name, x in held.items()})
    return model


def save(case: Case, model: Any, directory: Path) -> None:
    """As a user would: `save_pretrained`, in the case's type and number of files."""
    import copy

    import torch

    if case.files != 'float32':
        model = copy.deepcopy(model).to(getattr(torch, case.files))
    size = sum(x.numel() * x.element_size() for x in model.state_dict().values())
    limit = {} if case.shards == 1 else {'max_shard_size': size * 3 // (2 * case.shards) + 1}
    model.save_pretrained(directory, **limit)
    files = list(directory.glob('*.safetensors'))
    assert len(files) >= case.shards, f'{case.name}: {len(files)} files'


def inputs(case: Case, model: Any) -> dict[str, np.ndarray]:
    """A batch of two, the second row padded on the right."""
    rng, config = np.random.default_rng(0), model.config
    if model.main_input_name == 'pixel_values':
        size = config.image_size
        height, width = size if isinstance(size, list | tuple) else (size, size)
        shape = (2, config.num_channels, height, width)
        return {'pixel_values': rng.standard_normal(shape).astype(np.float32)}
    found = row(case, config, rng, case.length)
    if getattr(config, 'type_vocab_size', 0) and 'token_type_ids' in _arguments(model):
        types = rng.integers(0, config.type_vocab_size, found['input_ids'].shape)
        found['token_type_ids'] = types
    if 'decoder_input_ids' in _arguments(model):
        if 'Classification' in case.model or 'QuestionAnswering' in case.model:
            copied = {f'decoder_{name}': x for name, x in found.items()}
            return found | copied
        target = row(case, config, rng, case.length - 6)
        found |= {f'decoder_{name}': x for name, x in target.items()}
    return found


def row(case: Case, config: Any, rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    special = {getattr(config, f'{name}_token_id', None) for name in ('pad', 'eos', 'bos')}
    plain = [i for i in range(config.vocab_size) if i not in special]
    ids = rng.choice(plain, (2, length))
    mask = np.ones_like(ids)
    short = length - 5
    if config.eos_token_id is not None:  # some heads read the last one's vector
        ids[0, -1] = ids[1, short - 1] = config.eos_token_id
    if config.pad_token_id is not None:
        ids[1, short:], mask[1, short:] = config.pad_token_id, 0
    return {'input_ids': ids, 'attention_mask': mask}


def _arguments(model: Any) -> set[str]:
    import inspect

    return set(inspect.signature(model.forward).parameters)


def outputs(model: Any, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the original gives, by the names that we give it."""
    import torch

    known = _arguments(model)
    tensors = {name: torch.tensor(x) for name, x in given.items() if name in known}
    with torch.no_grad():
        out = model(**tensors, output_hidden_states=True)
    found = {}
    for name in ('logits', 'start_logits', 'end_logits', 'pooler_output', 'last_hidden_state'):
        if getattr(out, name, None) is not None:
            found[name] = getattr(out, name)
    states = getattr(out, 'decoder_hidden_states', None) or getattr(out, 'hidden_states', None)
    images = model.main_input_name == 'pixel_values'  # there the last state lacks the last norm
    if 'last_hidden_state' not in found and states is not None and not images:
        found['last_hidden_state'] = states[-1]
    if getattr(out, 'encoder_last_hidden_state', None) is not None:
        found['encoder_last_hidden_state'] = out.encoder_last_hidden_state
    return {name: x.float().numpy() for name, x in found.items()}
