"""Chat templates in the shapes that published models have, and what they make of a conversation."""

HELLO = [
    {'role': 'user', 'content': 'Hello'},
    {'role': 'assistant', 'content': 'Hi there'},
    {'role': 'user', 'content': ' More?\n'},
    {'role': 'assistant', 'content': 'No, done.'},
]
SYSTEM = [{'role': 'system', 'content': 'Be brief'}]

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}"
    '{% set loop_messages = messages %}{% set system_message = false %}{% endif %}'
    '{% for message in loop_messages %}'
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    '{% endif %}{% if loop.index0 == 0 and system_message != false %}'
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    '{% set loop_messages = messages %}{% for message in loop_messages %}'
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + "
    "message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    '{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}'
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    '{% endif %}'
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
# The system prompt is written before the last message: an earlier part is no prefix of the whole.
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    '{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}'
    '{%- endif %}{{- bos_token }}{%- for message in loop_messages %}'
    "{%- if message['role'] == 'user' %}{%- if loop.last and system_message is defined %}"
    "{{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}{%- else %}"
    "{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}"
    "{%- elif message['role'] == 'assistant' %}"
    "{{- ' ' + message['content'] | trim + eos_token }}{%- endif %}{%- endfor %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    '{% if loop.last and add_generation_prompt %}\n'
    "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
QWEN = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Reasoning stays in the last answer alone, where it is also put if there is none.
THINKING = (
    '{%- for message in messages %}{%- set content = message.content %}'
    "{%- if message.role == 'user' or message.role == 'system' %}"
    "{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}"
    "{%- elif message.role == 'assistant' %}{%- set reasoning = '' %}"
    "{%- if '</think>' in content %}"
    "{%- set reasoning = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.last %}{{- '<|im_start|>assistant\n<think>\n' + reasoning + '\n</think>\n\n' + "
    "content }}{%- else %}{{- '<|im_start|>assistant\n' + content }}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
# What is answered begins with <think>, what was answered does not.
BEGUN = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<|user|>' + message['content'] }}{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' + message['content'].split('</think>')[-1] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}"
)
TAGGED = (
    '{%- for message in messages %}'
    "{{- '<|im_start|>' + message['role'] + '\n' }}{%- if message['role'] == 'assistant' %}"
    "{%- generation %}{{ message['content'] + '<|im_end|>' }}{%- endgeneration %}"
    "{%- else %}{{ message['content'] + '<|im_end|>' }}{%- endif %}{{ '\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)

# template -> a system message first or not; what is learnt of HELLO.
CASES = {
    'chatml': (CHATML, True, ['Hi there<|im_end|>', 'No, done.<|im_end|>']),
    'llama2': (LLAMA2, True, [' Hi there </s>', ' No, done. </s>']),
    'llama3': (LLAMA3, True, ['Hi there<|eot_id|>', 'No, done.<|eot_id|>']),
    'gemma': (GEMMA, False, ['Hi there<end_of_turn>', 'No, done.<end_of_turn>']),
    'mistral': (MISTRAL, False, [' Hi there</s>', ' No, done.</s>']),
    'mistral, told': (MISTRAL, True, [' Hi there</s>', ' No, done.</s>']),
    'zephyr': (ZEPHYR, True, ['Hi there</s>', 'No, done.</s>']),
    'qwen': (QWEN, False, ['Hi there<|im_end|>', 'No, done.<|im_end|>']),
    'qwen, told': (QWEN, True, ['Hi there<|im_end|>', 'No, done.<|im_end|>']),
    'thinking': (
        THINKING,
        True,
        ['Hi there<|im_end|>', '<think>\n\n</think>\n\nNo, done.<|im_end|>'],
    ),
    'begun': (BEGUN, False, ['Hi there</s>', 'No, done.</s>']),
    'tagged': (TAGGED, True, ['Hi there<|im_end|>', 'No, done.<|im_end|>']),
}
SPECIALS = (
    *('<s>', '</s>', '<pad>', '<unk>', '<|im_start|>', '<|im_end|>', '<|start_header_id|>'),
    *('<|end_header_id|>', '<|eot_id|>', '<start_of_turn>', '<end_of_turn>'),
)
