"""An imported decoder fine-tuned on a text.

    python train.py --config=configs/finetune_lm.py --workdir=runs/shakespeare_gpt2 \\
        --config.init=DIR --config.data.path=tinyshakespeare.txt
    python generate.py --workdir=runs/shakespeare_gpt2 --prompt="ROMEO:"
    python -m transformer.hf export runs/shakespeare_gpt2 DIR2

DIR is a Hugging Face directory (GPT-2, LLaMA, Mistral, Qwen, Gemma ...) with its tokenizer, or a
hub id with the extra `[hf]`. The model's own settings go by their own names, such as
`--config.model.hf.attn_pdrop=0.0`.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config('decoder', 'next_token')
    config.init = 'DIR'  # to be given
    config.steps = 500
    config.batch_size = 8
    config.context = 256
    config.learning_rate = 3e-5
    config.optimizer.warmup = 0.1
    config.optimizer.final = 0.1
    config.optimizer.weight_decay = 0.01
    config.log_every = 20
    config.eval_every = 100
    config.checkpoint_every = 100
    config.sample.prompts = ('\n',)
    return config
