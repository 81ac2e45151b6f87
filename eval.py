"""Evaluates a trained model on its validation split, every example once.

    python eval.py --workdir=runs/quickstart
    python eval.py --workdir=runs/translate --split=test --beam=4

A sequence-to-sequence model also writes the targets, and BLEU, ROUGE and token F1 compare them with
the references; `--save=FILE` keeps what it wrote.
"""

import json
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
    parser.add_argument('--json', action='store_true', help='prints one JSON object')
    launch.add_flags(parser)
    flags, overrides = cli.parse(parser)
    launch.start(flags)  # before anything touches a device
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: eval.py takes the config of the run')

    import absl.logging
    import jax

    from data import feed, load
    from data import tokenizers as saved
    from transformer import restore, sharding, terminal, workdir
    from transformer.errors import UserError
    from transformer.evaluators import Scores
    from transformer.experiment import Experiment

    absl.logging.set_verbosity(absl.logging.ERROR)
    experiment = Experiment.from_config(workdir.read_config(flags.workdir))
    hardware.enable_compilation_cache(experiment.compilation_cache)
    objective = experiment.objective
    how = writes(objective, flags, parser)
    tokenizer = None
    if objective.RECORDS != 'images':
        tokenizer = saved.load(flags.workdir / workdir.TOKENIZER)
    run = restore.load(flags.workdir, saved.digest(tokenizer), flags.checkpoint)
    loaded = load.load(experiment, tokenizer)
    rows = loaded.feed
    if rows.classes != run.classes:
        theirs = ', '.join(run.classes)
        raise UserError(f'{rows.name} has the classes {", ".join(rows.classes)}, not {theirs}')
    splits = {'validation': rows.validation, 'test': rows.test}
    split = splits.get(flags.split)
    if split is None:
        accepted = ', '.join(name for name, found in splits.items() if found is not None)
        raise UserError(f'--split={flags.split}: accepted: {accepted} (config.data.test_split)')
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
    )
    here = sharding.rows_here(run.mesh, local)
    batches = feed.eval_batches(split, batch_size=local, rows=here)
    with jax.set_mesh(run.mesh):  # some attention kernels ask for it
        values = dict(scores(run.params, batches, split.text_bytes))
    if objective.kind == 'seq2seq':
        values |= written(run, objective, tokenizer, loaded.records(flags.split), how, flags.save)
    if flags.json:
        print(json.dumps({'step': run.step, 'split': flags.split, **values}))
        return 0
    print(f'step {run.step}  {flags.split} of {rows.name}')
    print(terminal.values(values))
    if run.validation_loss is not None and flags.split == 'validation':
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


def written(run, objective, tokenizer, pairs, how, save: Path | None) -> dict:
    """Scores of the targets that the model writes for the sources of `pairs`."""
    from transformer.evaluators import generated
    from transformer.respond import Speaker, respond

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
    return dict(generated(answers, [target for _, target in pairs], objective.lowercase))


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
