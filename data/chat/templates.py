"""Which chat template a tokenizer's conversations are written with, and the two that we bring."""

from data.tokenizer_base import END, Tokenizer
from transformer.errors import ConfigError
from transformer.objectives import Chat

_NO_TOOLS = (
    "{% if tools or message['tool_calls'] or message['function_call'] %}"
    "{{ raise_exception('it has no form for tools; config.objective.template names another') }}"
    '{% endif %}'
)
# Of tokenizers that keep its two tokens apart, as those that are trained here.
CHATML = (
    '{% for message in messages %}' + _NO_TOOLS + "{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Of others: it needs an end marker alone.
ZEPHYR = (
    '{% for message in messages %}' + _NO_TOOLS + "{{ '<|' + message['role'] + '|>\\n' + "
    "message['content'] + eos_token + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def choose(tokenizer: Tokenizer, objective: Chat, tools: bool) -> str:
    """The template of `config.objective.template`, or the tokenizer's own, or one of ours.

    Args:
      tools: whether it is for a conversation with tools: some have a template of their own.

    Raises:
      ConfigError: none is asked for, and the tokenizer has neither a template nor an end marker.
    """
    if objective.template:
        return objective.template
    hf = getattr(tokenizer, 'tokenizer', None)
    own = hf.template_for(tools) if hf is not None else None
    if own is not None:
        return own
    if all(name in tokenizer.specials for name in ('<|im_start|>', '<|im_end|>')):
        return CHATML
    if tokenizer.end is not None:
        return ZEPHYR
    accepted = 'the text or the path of one: the tokenizer has neither a template nor an end marker'
    raise ConfigError('objective.template', objective.template, accepted)


def roles(tokenizer: Tokenizer) -> dict[str, str]:
    """Names of special tokens that templates ask for, such as `bos_token`."""
    hf = getattr(tokenizer, 'tokenizer', None)
    if hf is not None:
        return hf.roles
    return {'bos_token': END, 'eos_token': END} if END in tokenizer.specials else {}
