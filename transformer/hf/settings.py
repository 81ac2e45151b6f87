"""A config.json, read so that nothing in it is passed over: what nobody asked for is an error."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from transformer.errors import UserError

# What changes no number that a model computes from its inputs and parameters: names, tokens that
# generation uses, the way parameters started, how the original's code returns its results.
HARMLESS = frozenset(
    [
        '_name_or_path',
        '_commit_hash',
        'architectures',
        'model_type',
        'transformers_version',
        'torch_dtype',
        'dtype',
        'use_cache',
        'return_dict',
        'return_dict_in_generate',
        'output_attentions',
        'output_hidden_states',
        'id2label',
        'label2id',
        'num_labels',
        'pad_token_id',
        'bos_token_id',
        'eos_token_id',
        'sep_token_id',
        'unk_token_id',
        'mask_token_id',
        'cls_token_id',
        'decoder_start_token_id',
        'forced_bos_token_id',
        'forced_eos_token_id',
        'task_specific_params',
        'problem_type',
        'finetuning_task',
        'gradient_checkpointing',
        'tokenizer_class',
        'prefix',
        'chunk_size_feed_forward',
        'auto_map',
        'initializer_range',
        'initializer_factor',
        'torchscript',
        'use_bfloat16',
        'max_length',
        'min_length',
        'do_sample',
        'early_stopping',
        'num_beams',
        'num_beam_groups',
        'diversity_penalty',
        'temperature',
        'top_k',
        'top_p',
        'typical_p',
        'repetition_penalty',
        'length_penalty',
        'no_repeat_ngram_size',
        'encoder_no_repeat_ngram_size',
        'bad_words_ids',
        'num_return_sequences',
        'output_scores',
        'begin_suppress_tokens',
        'suppress_tokens',
        'exponential_decay_length_penalty',
        'remove_invalid_values',
        'xla_device',
        'output_past',
        '_attn_implementation_autoset',
        'attn_implementation',
        '_attn_implementation',
        'tf_legacy_loss',
        'pretraining_tp',
        'is_encoder_decoder',
        'n_ctx',
        'directionality',
        'custom_pipelines',
        'sbert_ce_default_activation_function',
        'sentence_transformers',
        'output_router_logits',
    ]
)
# These must be as they are by default.
FIXED = {
    'pruned_heads': ({}, None),
    'tie_encoder_decoder': (False, None),
    'add_cross_attention': (False, None),
    'cross_attention_hidden_size': (None,),
    'quantization_config': (None,),
    'compression_config': (None,),
}
# Their names of activations -> ours (`mlps.ACTIVATIONS`).
ACTIVATIONS = {
    'gelu': 'gelu',
    'gelu_python': 'gelu',
    'gelu_new': 'gelu_tanh',
    'gelu_fast': 'gelu_tanh',
    'gelu_accurate': 'gelu_tanh',
    'gelu_pytorch_tanh': 'gelu_tanh',
    'gelu_python_tanh': 'gelu_tanh',
    'quick_gelu': 'quick_gelu',
    'relu': 'relu',
    'relu2': 'relu2',
    'relu6': 'relu6',
    'silu': 'silu',
    'swish': 'silu',
    'tanh': 'tanh',
    'sigmoid': 'sigmoid',
    'mish': 'mish',
    'leaky_relu': 'leaky_relu',
    'linear': 'linear',
}
_MISSING = object()


class Settings:
    """The fields of a config.json. Each is asked for by name; `finish` finds those that were not.

    Args:
      values: the JSON object.
      allowed: fields that the user says may be passed over.
    """

    def __init__(self, values: Mapping[str, Any], allowed: Iterable[str] = ()):
        self.values = dict(values)
        self._asked = set(allowed)

    def get(self, name: str, default: Any = None) -> Any:
        """A field; `default` where it is not there. A null is None."""
        self._asked.add(name)
        return self.values.get(name, default)

    def first(self, names: Iterable[str], default: Any = None) -> Any:
        """The first of several names of one field that is there and not null."""
        found = [self.get(name) for name in names]
        return next((x for x in found if x is not None), default)

    def size(self, name: str, default: int | None = None) -> int:
        """A whole number above 0.

        Raises:
          UserError: it is missing and has no default, or is something else.
        """
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise refusal(name, value, 'a whole number above 0')
        return value

    def size_or(self, name: str, otherwise: int) -> int:
        """A whole number above 0; null, 0 and nothing mean `otherwise`."""
        return self.size(name) if self.get(name) not in (None, 0, False) else otherwise

    def number(self, name: str, default: float) -> float:
        """A number."""
        value = self.get(name, default)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not math.isfinite(value):
            raise refusal(name, value, 'a finite number')
        return float(value)

    def rate(self, name: str, default: float = 0.0) -> float:
        """A share, from 0 to below 1; null means none."""
        value = 0.0 if self.get(name, default) is None else self.number(name, default)
        if not 0 <= value < 1:
            raise refusal(name, value, 'a number from 0 to below 1')
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise refusal(name, value, 'true or false')
        return value

    def activation(self, name: str, default: str) -> str:
        """Our name of an activation."""
        value = self.get(name, default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise refusal(name, value, f'one of {", ".join(ACTIVATIONS)}')
        return ACTIVATIONS[value]

    def only(self, name: str, *accepted: Any, default: Any = _MISSING) -> None:
        """Refuses all values but these; where the field is not there, `default` counts (or any)."""
        value = self.get(name, accepted[0] if default is _MISSING else default)
        if not any(value == x and type(value) is type(x) for x in accepted):
            raise refusal(name, value, ' or '.join(map(repr, accepted)))

    def ignore(self, *names: str) -> None:
        """These change nothing in this family."""
        self._asked.update(names)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, by their numbers."""
        names, count = self.values.get('id2label'), self.values.get('num_labels')
        if count is not None and (type(count) is not int or count < 1):
            raise refusal('num_labels', count, 'a whole number above 0')
        if names is None:
            return tuple(f'LABEL_{i}' for i in range(count or 2))
        if not isinstance(names, Mapping) or sorted(names) != sorted(map(str, range(len(names)))):
            raise refusal('id2label', names, 'an object with the keys "0", "1" and so on')
        if any(not isinstance(label, str | int | float) for label in names.values()):
            raise refusal('id2label', names, 'names as strings')
        if count not in (None, len(names)):
            raise refusal('num_labels', count, f'{len(names)}, as id2label says')
        return tuple(str(names[str(i)]) for i in range(len(names)))

    def finish(self) -> None:
        """Raises a `UserError` for a field that changes, or may change, what is computed."""
        for name, accepted in FIXED.items():
            if name not in self._asked:
                self.only(name, *accepted, default=accepted[0])
        for name, value in self.values.items():
            if name not in self._asked and name not in HARMLESS:
                near = difflib.get_close_matches(name, sorted(self._asked), n=1)
                hint = f' (did you mean {near[0]!r}?)' if near else ''
                raise UserError(
                    f'config.json: {name}={value!r} is not known to this family{hint}. If it '
                    f'changes nothing that is computed, allow it: allow={[name]!r}, --allow={name}'
                )


def refusal(name: str, value: Any, accepted: str) -> UserError:
    """What is said of a field that holds what is not implemented."""
    return UserError(f'config.json: {name}={value!r} cannot be used; accepted: {accepted}')
