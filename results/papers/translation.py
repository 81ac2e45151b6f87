"""The Transformer translates Multi30k from German to English; its 9.0 M parameters as `full`.

    python -m results.run translation --config.data.path=DIR
    python -m results.run translation --size=full --config.data.path=DIR     # on an accelerator

DIR is as in configs/multi30k.py. Measured: sacrebleu's BLEU on test 2016 of what a beam of 4
writes, lower-cased: with its own tokenizer (13a), and with 'intl', which splits at hyphens and
apostrophes as spaCy does, by which the published figure is counted.
"""

from results.paired import gaps, of
from results.paper import Arm, Number, Paper

SINUSOIDS, LEARNED = 'sinusoids', 'learned positions'
COMMON = {'log_every': 50}
TEST = {'test': 'eval.py --workdir={workdir} --split=test --beam=4 --json'}
FULL_BLEU = 36.5
CPU_BLEU = 34.5  # what the small size is to reach; no other code's number is known
PUBLISHED = 'BLEU 36.52, 9.0 M parameters, tokenised by spaCy'


def bleu(run):
    return run.after['test']['bleu']


def measure(runs):
    arms = dict.fromkeys(run.arm for run in runs)
    full = LEARNED in arms
    published, least = (PUBLISHED, FULL_BLEU) if full else ('', CPU_BLEU)
    numbers = []
    for arm in arms:
        members = of(runs, arm)
        values = [bleu(run) for run in members]
        numbers.append(Number(f'{arm}: BLEU, 13a', values, published, least=least))
        for field, what in (('bleu_intl', 'BLEU, intl'), ('perplexity', 'perplexity a token')):
            values = [run.after['test'][field] for run in members]
            numbers.append(Number(f'{arm}: {what}', values))
    if full:
        what, same = 'sinusoids less learned positions, BLEU', '0.1 (1706.03762, table 3 E)'
        values = gaps(runs, SINUSOIDS, LEARNED, bleu)
        source = 'https://arxiv.org/abs/1706.03762'
        numbers.append(Number(what, values, same, least=-1.0, most=1.0, source=source))
    return numbers


def draw(figure, runs):
    axes = figure.subplots()
    for run in runs:
        colour = f'C{run.seed}'
        style = '-' if run.arm == SINUSOIDS else '--'
        label = f'{run.arm}, seed {run.seed}: BLEU {bleu(run):.1f}'
        axes.plot(*zip(*run.curve('loss', 'train')), style, color=colour, lw=0.8, alpha=0.4)
        axes.plot(*zip(*run.curve('loss')), style, marker='o', color=colour, label=label)
    axes.set(xlabel='step', ylabel='loss, nats a token', title='training (thin), validation')
    axes.legend()


PAPER = Paper(
    name='translation',
    title='Attention Is All You Need, on Multi30k',
    claim='An encoder-decoder of attention alone translates: 9.0 M parameters reach a BLEU of '
    "36.52 on Multi30k's test 2016 from German to English, 8 points above a recurrent network with "
    'attention.',
    source='https://github.com/bentrevett/pytorch-seq2seq',
    sizes={
        '': [Arm(SINUSOIDS, 'configs/multi30k.py:cpu', COMMON | {'steps': 2400}, after=TEST)],
        'full': [
            Arm(SINUSOIDS, 'configs/multi30k.py', COMMON, after=TEST),
            Arm(
                LEARNED,
                'configs/multi30k.py',
                COMMON | {'model.positions': 'learned'},
                after=TEST,
            ),
        ],
    },
    measure=measure,
    draw=draw,
    seeds=3,
    data="a folder with Multi30k's task 1: train.de.gz, train.en.gz, val.*, test_2016_flickr.*",
    remark='The CPU size has 1.2 M parameters, and is to reach a BLEU of 34.5; the published '
    'number is that of the full size. Norms come before the branches, and the vocabulary of byte '
    'pairs is shared by both languages. The experiment on heads has learned positions at CPU size.',
)
