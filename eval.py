"""Evaluates a trained model on its validation split, every example once.

    python eval.py --workdir=runs/quickstart
    python eval.py --workdir=runs/translate --split=test --beam=4
    python eval.py --workdir=runs/alibi --config.context=512 --parts=4
    python eval.py --workdir=runs/quickstart --decode=8

Fields of the run's config that say how and on what it is evaluated can be changed: rows longer than
in training, other data, another attention backend; `transformer/evaluation.py` lists them.

A sequence-to-sequence model also writes the targets, and BLEU, ROUGE, token F1 and exact match
compare them with the references, for each source of a mixture; `--save=FILE` keeps what it wrote.
"""

import functools
import itertools
import json
import sys
from pathlib import Path

from transformer import cli, hardware, launch


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--workdir', required=True, type=Path, help='of the training run')
    parser.add_argument('--checkpoint', default='best', help='best, latest or a step')
    parser.add_argument('--split', default='validation', help='validation or test')
    parser.add_argument(
        '--beam', type=int, default=1, help='hypotheses of a beam search; 1: greedy'
    )
    parser.add_argument('--length_penalty', type=float, default=0.6, help='of the beam search')
    parser.add_argument('--save', type=Path, metavar='FILE', help='generated targets, a line each')
    parser.add_argument(
        '--parts', type=int, default=0, help='also the loss of each of so many parts of the rows'
    )
    parser.add_argument(
        '--decode', type=int, metavar='ROWS', help='also how fast so many rows are written'
    )
    parser.add_argument(
        '--config.FIELD', metavar='VALUE', dest='_override', help='changes a field of the run'
    )
    parser.add_argument('--json', action='store_true', help='prints one JSON object')
    launch.add_flags(parser)
    flags, overrides = cli.parse(parser)
    launch.start(flags)  # before anything touches a device

    import absl.logging
    import jax

    from data import feed, load
    from data import tokenizers as saved
    from transformer import evaluation, restore, sharding, terminal, workdir
    from transformer.errors import UserError
    from transformer.evaluators import Scores
    from transformer.pace import pace

    absl.logging.set_verbosity(absl.logging.ERROR)
    config, task = workdir.read_config(flags.workdir), workdir.read_task(flags.workdir)
    experiment = evaluation.changed(config, overrides, task)
    hardware.enable_compilation_cache(experiment.compilation_cache)
    objective = experiment.objective
    how = writes(objective, flags, parser)
    check_measures(objective, flags, parser)
    tokenizer = None
    if objective.reads_text:
        tokenizer = saved.load(flags.workdir / workdir.TOKENIZER)
    run = restore.load(flags.workdir, saved.digest(tokenizer), flags.checkpoint, experiment)
    # What is prepared first is told beside what is asked for.
    told = sys.stderr if flags.json else sys.stdout
    loaded = load.load(experiment, tokenizer, functools.partial(print, file=told))
    rows = loaded.feed
    if rows.classes != run.classes:
        theirs = ', '.join(run.classes)
        raise UserError(f'{rows.name} has the classes {", ".join(rows.classes)}, not {theirs}')
    splits = {'validation': rows.validation, 'test': rows.test}
    split = splits.get(flags.split)
    if split is None:
        accepted = ', '.join(name for name, found in splits.items() if found is not None)
        raise UserError(f'--split={flags.split}: accepted: {accepted} (config.data.test_split)')
    most = split.rows.at(0)['targets'].size
    if not 0 <= flags.parts <= most:
        raise UserError(f'--parts={flags.parts}: accepted: 0 to {most}, the tokens of a row')
    ways = sharding.row_ways(run.mesh)
    local = -(-experiment.batch_size // experiment.accumulation // ways) * ways
    scores = Scores(
        run.model,
        objective,
        run.classes,
        run.mesh,
        run.param_shardings,
        rows.sources,
        experiment.loss_chunk,
        flags.parts,
    )
    here = sharding.rows_here(run.mesh, local)
    batches = feed.eval_batches(split, batch_size=local, rows=here)
    with jax.set_mesh(run.mesh):  # some attention kernels ask for it
        values = dict(scores(run.params, batches, split.text_bytes))
    if objective.kind == 'seq2seq':
        pairs = pairs_of(experiment, loaded, flags.split)
        values |= written(run, objective, tokenizer, pairs, how, flags.save)
    if flags.decode is not None:
        with jax.set_mesh(run.mesh):
            values |= dict(pace(run.writer, run.params, flags.decode, experiment.context))
    if flags.json:
        print(json.dumps({'step': run.step, 'split': flags.split, **values}))
        return 0
    print(f'step {run.step}  {flags.split} of {rows.name}')
    print(terminal.values(values))
    if run.validation_loss is not None and flags.split == 'validation' and not overrides:
        difference = abs(values['loss'] - run.validation_loss)
        print(f'training measured loss {run.validation_loss:.6f} here; difference {difference:.1e}')
    return 0


def writes(objective, flags, parser):
    """How targets are written; what cannot work is refused before anything is computed."""
    from transformer import text_metrics
    from transformer.beam import Beam
    from transformer.errors import UserError
    from transformer.sampling import Sampling

    if objective.kind != 'seq2seq':
        for name in ('beam', 'length_penalty', 'save'):
            if getattr(flags, name) != parser.get_default(name):
                parser.error(f'--{name}: a model of objective {objective.kind!r} writes no targets')
        return None
    text_metrics.bleu(['a'], ['a'])  # or says what is to be installed
    if flags.save and launch.here().leads:
        try:
            flags.save.touch()
        except OSError as error:
            raise UserError(f'--save={flags.save} cannot be written: {error.strerror}') from None
    return Sampling(0.0) if flags.beam == 1 else Beam(flags.beam, flags.length_penalty)


def check_measures(objective, flags, parser) -> None:
    """Refuses what the model has nothing for: parts of rows, or writing."""
    if flags.parts and objective.HEAD not in ('tokens', 'masked', 'token_class'):
        parser.error(f'--parts={flags.parts}: objective {objective.kind!r} has no rows of targets')
    if flags.decode is not None and objective.SHAPE != 'decoder':
        parser.error(f'--decode: a model of objective {objective.kind!r} continues no text')
    if flags.decode is not None and flags.decode < 1:
        parser.error(f'--decode={flags.decode}: accepted: at least 1 row')


def pairs_of(experiment, loaded, split: str) -> dict[str, list]:
    """The pairs of a split by where they come from: sources of a mixture may be no pairs."""
    from transformer.mixing import of_source

    found = {}
    for name, source in experiment.data.sources.items():
        records = getattr(loaded.corpora[name], split)
        if records is not None and of_source(experiment.objective, source).kind == 'seq2seq':
            found[name] = list(records)
    return found


def written(run, objective, tokenizer, pairs_of, how, save: Path | None) -> dict:
    """Scores of the targets that the model writes; of a mixture for each source, as `bleu/NAME`."""
    from transformer.evaluators import generated
    from transformer.respond import Speaker, respond

    pairs = [pair for some in pairs_of.values() for pair in some]
    speaker = Speaker(run.writer, run.params, tokenizer, objective, how=how, cut=True)
    answers: list[str] = [''] * len(pairs)
    # Sources of similar lengths together: less padding, and few programs to compile.
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        for i, answer in zip(chosen, respond(speaker, [pairs[i][0] for i in chosen])):
            answers[i] = ' '.join(answer.split())
    if save and launch.here().leads:
        save.write_text(''.join(f'{answer}\n' for answer in answers), encoding='utf-8')
    values, left = {}, iter(answers)
    for source, some in pairs_of.items():
        theirs = list(itertools.islice(left, len(some)))
        scores = generated(theirs, [target for _, target in some], objective.lowercase)
        end = f'/{source}' if source else ''
        values |= {name + end: value for name, value in scores}
    return values


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
