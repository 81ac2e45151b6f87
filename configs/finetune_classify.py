"""An imported encoder fine-tuned on film reviews (Pang and Lee, 2005): for or against.

    python train.py --config=configs/finetune_classify.py --workdir=runs/polarity \\
        --config.init=DIR --config.data.path=sentence_polarity.zip
    python -m transformer.hf export runs/polarity DIR2

DIR is a Hugging Face directory (BERT, RoBERTa, DeBERTa ...) with its tokenizer, or a hub id with
the extra `[hf]`. The settings are those of the BERT paper, appendix A.3
(https://arxiv.org/abs/1810.04805): 3 passes, batches of 32, rates from 2e-5 to 5e-5.

FILE is NLTK's `sentence_polarity.zip` (https://www.nltk.org/nltk_data), or a folder with the same
two files; a tenth is kept for validation, drawn by class. `configs/sentiment.py` is the same task
from scratch: 77.9% there.
"""

from transformer.experiment import default_config


def get_config():
    config = default_config('encoder', 'classification')
    config.init = 'DIR'  # to be given
    config.steps = 900
    config.batch_size = 32
    config.context = 64
    config.learning_rate = 3e-5
    config.optimizer.warmup = 0.1
    config.optimizer.final = 0.0
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-6
    config.optimizer.weight_decay = 0.01
    config.log_every = 50
    config.eval_every = 150
    config.checkpoint_every = 300
    config.data.encoding = 'latin-1'
    config.sample.prompts = ('a warm , funny and engaging film .', 'a dull and pointless mess .')
    return config
