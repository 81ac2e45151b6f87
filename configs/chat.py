"""A decoder learns to answer: conversations, with the loss on what the assistant says alone.

    python train.py --config=configs/chat.py --workdir=runs/chat --config.data.path=chats.jsonl
    python train.py --config=configs/chat.py --workdir=runs/chat_init \\
        --config.data.path=chats.jsonl --config.init=DIR --config.learning_rate=2e-5
    python generate.py --workdir=runs/chat --prompt="Who wrote Faust?" --system="Be brief."
    python -m transformer.hf export runs/chat DIR2

Each line of chats.jsonl is a conversation; more forms are in `data/chat/records.py`:

    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}]}

The first command starts from random numbers and trains a tokenizer; the second from DIR, a Hugging
Face directory, a hub id (with the extra `[hf]`) or another run, with its tokenizer. Conversations
are written by the tokenizer's chat template, or by `--config.objective.template=FILE`. They are
packed whole; what is longer than the context is cut, and counted.

Measured: nothing yet. Published: none.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config('decoder', 'chat')
    config.steps = 500
    config.batch_size = 8
    config.context = 512
    config.learning_rate = 1e-3
    config.log_every = 20
    config.eval_every = 100
    config.checkpoint_every = 100
    config.model.width = 160
    config.model.depth = 6
    config.model.heads = 5
    config.model.mlp = 'swiglu'  # with this and `tied` it is a LLaMA to `transformer.hf export`
    config.model.tied = False
    config.model.init_std = 0.0  # 1 / sqrt(fan-in)
    config.data.packing = 'best_fit'
    config.data.path = 'chats.jsonl'  # to be given
    config.sample.prompts = ('Hello!',)
    return config
