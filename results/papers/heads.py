"""How many heads, and which positions: rows A and E of table 3 of the Transformer's paper.

    python -m results.run heads --config.data.path=DIR
    python -m results.run heads --size=full --config.data.path=DIR           # on an accelerator

DIR is as in configs/multi30k.py. All models are of one width, so a head is the narrower the more
there are, and the work is the same. Measured: validation loss, and BLEU (sacrebleu, lower-cased,
13a) of what the model writes greedily for test 2016.
"""

from results.paired import gaps, of
from results.paper import Arm, Number, Paper

HEADS = (1, 4, 8, 16)
ONE, BEST, MANY, LEARNED = '1 head', '4 heads', '16 heads', 'learned positions'
TEST = {'test': 'eval.py --workdir={workdir} --split=test --json'}
# BLEU of newstest 2013 in the paper, English to German, 512 wide.
PUBLISHED = {1: '24.9', 4: '25.5', 8: '25.8', 16: '25.8'}


def name(heads):
    return '1 head' if heads == 1 else f'{heads} heads'


def loss(run):
    return run.last('loss')


def bleu(run):
    return run.after['test']['bleu']


def measure(runs):
    numbers = []
    for heads in HEADS:
        members = of(runs, name(heads))
        published = f'{PUBLISHED[heads]} (English to German, WMT)'
        numbers.append(Number(f'{name(heads)}: BLEU', [bleu(r) for r in members], published))
        values = [loss(r) for r in members]
        numbers.append(Number(f'{name(heads)}: validation loss, nats a token', values))
    few, many = gaps(runs, ONE, BEST, loss), gaps(runs, MANY, BEST, loss)
    published = f'worse: {PUBLISHED[1]} against {PUBLISHED[8]} BLEU'
    numbers.append(Number(f'{ONE} less {BEST}, nats', few, published, least=0.0))
    fewer = gaps(runs, BEST, ONE, bleu)
    numbers.append(Number(f'{BEST} less {ONE}, BLEU', fewer, '0.9', least=0.0))
    published = 'worse: 25.4 BLEU with 32 heads, each 16 wide'
    numbers.append(Number(f'{MANY} less {BEST}, nats', many, published, least=0.0))
    what, same = f'sinusoids less learned positions, BLEU, {BEST}', '0.1 (row E)'
    return [*numbers, Number(what, gaps(runs, BEST, LEARNED, bleu), same, least=-1.5, most=1.5)]


def draw(figure, runs):
    left, right = figure.subplots(1, 2)
    values = {
        left: ('validation loss, nats a token', loss),
        right: ('BLEU on test 2016, greedy', bleu),
    }
    for axes, (label, value) in values.items():
        means = []
        for heads in HEADS:
            here = [value(run) for run in of(runs, name(heads))]
            axes.plot([heads] * len(here), here, 'o', color='C0', alpha=0.5)
            means.append(sum(here) / len(here))
        axes.plot(HEADS, means, color='C0', label='sinusoids')
        learned = [value(run) for run in of(runs, LEARNED)]
        axes.plot([4] * len(learned), learned, 'x', color='C1', label=LEARNED)
        axes.set_xscale('log', base=2)
        axes.set_xticks(HEADS, [str(heads) for heads in HEADS])
        axes.set(xlabel='heads, all of one width together', ylabel=label)
    right.legend()


def arms(config, **changes):
    common = {'log_every': 50, 'eval_every': 200} | changes
    made = [
        Arm(name(heads), config, common | {'model.heads': heads}, after=TEST) for heads in HEADS
    ]
    learned = common | {'model.heads': 4, 'model.positions': 'learned'}
    return [*made, Arm(LEARNED, config, learned, after=TEST)]


PAPER = Paper(
    name='heads',
    title='How many heads, which positions',
    claim='At equal work, a single head is 0.9 BLEU worse than the best number of heads, and '
    'quality also drops with too many; learned positions do as well as sinusoids.',
    source='https://arxiv.org/abs/1706.03762',
    sizes={
        '': arms('configs/multi30k.py:cpu', steps=400),
        'full': arms('configs/multi30k.py'),
    },
    measure=measure,
    draw=draw,
    seeds=3,
    data="a folder with Multi30k's task 1: train.de.gz, train.en.gz, val.*, test_2016_flickr.*",
    remark='Multi30k from German to English instead of WMT, 128 wide instead of 512, 400 steps of '
    'some 128 pairs: the sign of each difference is what is to be reproduced. 16 heads of 128 are '
    '8 wide, half of what the paper found too narrow; 4 are 32 wide.',
)
