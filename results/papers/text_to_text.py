"""Several tasks as text to text: one model, one loss, a prefix that says which task it is.

T5 (Raffel et al. 2019, https://arxiv.org/abs/1910.10683): every task is to write a text from a text
that begins with the task's name; classes are words that are written. Section 3.5.2: trained on all
tasks at once, a model does each, in general a little worse than one that is tuned for it.

    python -m results.run text_to_text \\
        --config.data.mixture.polarity.path=sentence_polarity.zip \\
        --config.data.mixture.spans.path=sentence_polarity.zip \\
        --config.data.mixture.translation.path=multi30k

Three tasks: the class of a film review's sentence, German to English, and restoring cut-out spans
of such sentences. Compared with models of one task that see as many rows of it. Measured on the
validation splits, of texts that the model writes: the share of the sentences whose class it writes,
letter by letter, and BLEU.
"""

from results.paper import Arm, Number, Paper

CONFIG = 'configs/text_to_text.py'
SCORES = {  # of each task: eval.py's name for it, and what it is called
    'polarity': ('exact_match/polarity', 'classes written right, %'),
    'translation': ('bleu/translation', 'BLEU (sacrebleu, lower-cased, 13a)'),
}
AFTER = {'validation': 'eval.py --workdir={workdir} --checkpoint=latest --json'}


def arms():
    return [Arm('all', CONFIG, after=AFTER)] + [
        Arm(task, f'{CONFIG}:{task}', after=AFTER) for task in SCORES
    ]


def scores(runs, arm, task):
    """By seed."""
    name = SCORES[task][0]
    return {run.seed: run.after['validation'][name] for run in runs if run.arm == arm}


def measure(runs):
    """Each task's score, of the model of all tasks and of its own, and how far they are apart."""
    numbers = []
    for task, (_, called) in SCORES.items():
        together, alone = scores(runs, 'all', task), scores(runs, task, task)
        least = {'polarity': 70.0, 'translation': 25.0}[task]
        apart = [together[seed] - alone[seed] for seed in together]
        numbers += [
            Number(f'{called}, all tasks in one', [*together.values()], least=least),
            Number(f'{called}, {task} alone', [*alone.values()]),
            Number(f'{task}, in one above alone', apart, 'a little below 0', -4.0, 4.0),
        ]
    return numbers


def draw(figure, runs):
    """Each task's score, beside that of the model that has it alone."""
    for axes, (task, (_, called)) in zip(figure.subplots(1, len(SCORES)), SCORES.items()):
        for place, arm in enumerate((task, 'all')):
            values = [*scores(runs, arm, task).values()]
            axes.bar(place, sum(values) / len(values), 0.6, color=f'C{place}')
            axes.plot([place] * len(values), values, 'k.')
        axes.set_xticks((0, 1), (f'{task} alone', 'all tasks in one'))
        axes.set_ylabel(called)
    axes.figure.axes[0].axhline(50, color='black', ls=':', lw=1)  # what guessing gets


PAPER = Paper(
    name='text_to_text',
    title='Text to text: several tasks in one model',
    claim='One model with one loss learns to classify, to translate and to restore text, told by a '
    'prefix which it is to do, and is about as good as models of one task.',
    source='https://arxiv.org/abs/1910.10683',
    sizes={'': arms()},
    measure=measure,
    draw=draw,
    seeds=3,
    remark='A model of one task is trained on as many rows of it as the one of all tasks sees of '
    'it. The published models begin with spans of a large corpus; here spans are one task among '
    'the others, of the sentences whose classes are asked for. A class counts when the very word '
    'is written.',
)
