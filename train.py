"""Trains a model: the loop, read from top to bottom.

    python train.py --config=configs/quickstart.py --workdir=runs/quickstart

The same command again goes on from the last checkpoint. Ctrl-C and SIGTERM save and leave.
"""

import contextlib
from pathlib import Path

from transformer import cli, hardware, launch


def main() -> int:
    parser = cli.parser(__doc__)
    cli.add_config(parser)
    parser.add_argument('--workdir', required=True, type=Path, help='where everything is kept')
    launch.add_flags(parser)
    flags, overrides = cli.parse(parser)
    launch.start(flags)  # before anything touches a device
    if not flags.config:
        parser.error('--config is required, such as --config=configs/quickstart.py')
    config = cli.load_config(flags.config)
    start = overrides.get('init', config.get('init', ''))
    if start:  # its model takes the place of the config's, whose fields may then be overridden
        from transformer import initial

        initial.adopt(config, start, flags.workdir)
    cli.override(config, overrides)
    # Only now the heavy imports: --help and a mistyped field answer at once.
    from transformer import workdir
    from transformer.experiment import Experiment

    experiment = Experiment.from_config(config)
    launch.check_same(workdir.common(config))
    with (
        workdir.opened(flags.workdir) as directory,
        contextlib.ExitStack() as cleanup,
        launch.guard(),
    ):
        return train(experiment, config, directory, cleanup)


def train(experiment, config, directory: Path, cleanup: contextlib.ExitStack) -> int:
    """One run from its first step, or its last checkpoint, to its last.

    Args:
      cleanup: told what must end in good order, whatever happens: a save under way, open files.

    Returns:
      The exit code.
    """
    import math
    import time

    import absl.logging
    import jax

    from data import feed, load, tokenizers
    from transformer import (
        initial,
        optim,
        plots,
        prefetch,
        report,
        schedule,
        sharding,
        signals,
        step,
        summary,
        terminal,
        workdir,
    )
    from transformer.checkpoint import Checkpoints
    from transformer.errors import ConfigError, NotFiniteError, UserError
    from transformer.evaluators import Scores
    from transformer.metrics import Writer
    from transformer.respond import Speaker
    from transformer.restore import build_model
    from transformer.sampling import Sampling

    pod, began = launch.here(), time.monotonic()
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax and TFDS talk a lot
    hardware.enable_compilation_cache(experiment.compilation_cache)

    ################################################################################
    # Mesh: what cannot work on these devices is refused before anything is made.
    mesh = sharding.make_mesh(experiment.mesh, experiment.model.experts)
    sharding.check_batch(experiment.batch_size, experiment.accumulation, experiment.length, mesh)
    schedule.check_use(mesh.shape['stage'], experiment.accumulation, experiment.rounds)
    sharding.check_model(experiment.model, mesh)
    # Refused here, if at all, and not after the data.
    build_model(experiment, vocab=int(experiment.objective.RECORDS != 'images'), classes=1)
    cleanup.enter_context(jax.set_mesh(mesh))  # some attention kernels ask for it
    begun = pod.broadcast(workdir.has_checkpoint(directory))
    initial.refuse_imported(directory)
    for change in workdir.save_config(directory, config) if pod.leads else ():
        print(f'changed since the last start: {change}')

    ################################################################################
    # Data: examples -> tokenizer (made once, kept from the first checkpoint on) -> rows.
    objective = experiment.objective
    own = None
    if begun and objective.reads_text:
        own = tokenizers.load(directory / workdir.TOKENIZER)
    loaded = load.load(experiment, own)
    tokenizer, rows = loaded.tokenizer, loaded.feed
    digests = {'the tokenizer': tokenizers.digest(tokenizer), 'the training data': rows.digest}
    launch.check_same(digests)
    if tokenizer and not begun and pod.leads:
        workdir.write_atomically(directory / workdir.TOKENIZER, tokenizer.to_json())
    vocab = tokenizer.vocab_size if tokenizer else objective.vocab
    print(f'data           {rows.name}: {rows.summary}')
    if tokenizer:
        print(f'tokenizer      {experiment.data.tokenizer}, {vocab:,} tokens')
    example = rows.train.rows.at(0)
    target = len(example['targets']) if 'decoder_inputs' in example else 0
    if target % mesh.shape['context']:
        accepted = f'a divisor of {target}, the length of target sequences'
        raise ConfigError('mesh.context', mesh.shape['context'], accepted)

    ################################################################################
    # Model and state, made in place on the mesh.
    model = build_model(experiment, vocab, len(rows.classes), target)
    tx = optim.make(experiment)
    init = step.init_fn(model, tx)
    abstract = step.abstract_state(init, tx, mesh, experiment.optimizer.offload)
    shardings = jax.tree.map(lambda x: x.sharding, abstract)

    ################################################################################
    # Restore, or begin.
    checkpoints = Checkpoints(
        directory / workdir.CHECKPOINTS,
        keep_latest=experiment.checkpoint.keep_latest,
        keep_best=experiment.checkpoint.keep_best,
        report=workdir.warn,
    )
    cleanup.callback(checkpoints.close)
    restored = checkpoints.restore(abstract)
    if restored is None:
        state, start = jax.jit(init, out_shardings=shardings)(jax.random.key(experiment.seed)), 0
        if experiment.init:
            params, fresh = initial.params(experiment, model, state.params, rows.classes)
            state = state.replace(params=params)
            if pod.leads:
                initial.keep_original(experiment.init, directory)
            print(f'start          from {experiment.init}; fresh: {", ".join(fresh) or "nothing"}')
    else:
        state, meta = restored
        start = meta['step']
        workdir.check_same('tokenizer', tokenizers.digest(tokenizer), meta['tokenizer'])
        workdir.check_same('training data', rows.digest, meta['data']['digest'])
        print(f'resumed        from step {start}')
    if pod.leads:
        workdir.save_task(directory, vocab, rows.classes, target)
        workdir.save_summary(directory, summary.facts(state.params))
    writer = Writer(directory, experiment.log, start, config.to_dict())
    cleanup.callback(writer.close)

    ################################################################################
    # Compile, and say what is about to happen.
    local = experiment.batch_size // experiment.accumulation
    batches = feed.train_batches(
        rows,
        batch_size=experiment.batch_size,
        accumulation=experiment.accumulation,
        first=start,
        prefetch=experiment.data.prefetch,
        workers=experiment.data.workers,
        rows=sharding.rows_here(mesh, local),
    )
    cleanup.callback(batches.close)
    ready = cleanup.enter_context(prefetch.Ahead(batches, mesh))
    update = step.train_step_fn(model, tx, experiment, rows.sources)
    jitted = step.jit_train_step(update, shardings, mesh)
    first = next(ready)
    compiling = time.monotonic()
    train_step = jitted.lower(abstract, first).compile()
    hardware.give_back_memory()
    print(summary.describe(state, model.config, mesh, experiment.batch_size, train_step))
    print(f'compiled       in {time.monotonic() - compiling:.1f} s', flush=True)

    scores = Scores(
        model, objective, rows.classes, mesh, shardings.params, rows.sources, experiment.loss_chunk
    )

    def evaluate(params) -> dict[str, float]:
        here = sharding.rows_here(mesh, local)
        held_out = feed.eval_batches(rows.validation, batch_size=local, rows=here)
        return dict(scores(params, held_out, rows.validation.text_bytes))

    ################################################################################
    # The loop. Numbers are read one step late, so that the device never waits for them.
    lengths = [length for _, length in summary.stacks(model.config).values()]
    speed = report.Speed(
        experiment.batch_size * sum(lengths),
        experiment.batch_size * summary.flops_per_row(state.params, model.config),
        jax.device_count(),
    )
    by_source = report.SourceLosses()
    text = 0 if rows.sources else rows.train.text_bytes  # which share of a mixture is text
    bits = rows.train.predicted / math.log(2) / text if text else 0.0
    progress = terminal.progress(experiment.steps, start)
    pod.stop.begin(start + 1)
    with signals.graceful(pod.stop) as stop, progress as (advance, say):

        def settle(n: int, metrics: dict) -> None:
            """Reads the numbers of step n: stops at one that is not finite, logs, shows."""
            values = {k: float(v) for k, v in jax.device_get(metrics).items()}
            finite = math.isfinite(values['loss']) and math.isfinite(values['grad_norm'])
            if not finite and not experiment.skip_nonfinite:
                checkpoints.wait()
                saved = checkpoints.steps()
                good = f'step {saved[-1]}' if saved else 'none'
                raise NotFiniteError(
                    f'step {n}: loss {values["loss"]}, gradient norm {values["grad_norm"]}; the '
                    f'last good checkpoint is {good}. Try a lower config.learning_rate, or '
                    'config.skip_nonfinite=true to leave such steps out'
                )
            advance(n)
            by_source.add(values)
            if report.due(n, experiment.log_every, experiment.steps) or n == 1:
                loss = values.pop('loss')
                record = {'loss': loss}
                if not rows.classes:
                    record['perplexity'] = math.exp(min(loss, 700.0))
                if bits:
                    record['bits_per_byte'] = loss * bits
                record |= values | by_source.since_last() | speed.since_last(n)
                counts = ('tokens', 'skipped', 'experts/dropped')
                record |= {name: int(record[name]) for name in counts if name in record}
                writer.write(n, 'train', record)
                say(f'step {n:>6}  {terminal.values(record)}')

        def finish_step(n: int, leaving: bool) -> None:
            """Evaluates and saves where step n asks for it, and saves before leaving."""
            validation = None
            if report.due(n, experiment.eval_every, experiment.steps):
                with speed.paused():
                    best = writer.best('validation', 'loss')
                    validation = evaluate(state.params)
                    writer.write(n, 'validation', validation)
                    say(f'step {n:>6}  validation  {terminal.values(validation)}')
            is_best = validation is not None and (best is None or validation['loss'] < best[1])
            is_best = pod.broadcast(is_best and experiment.checkpoint.keep_best > 0)
            if is_best or leaving or report.due(n, experiment.checkpoint_every, experiment.steps):
                with speed.paused():
                    writer.sync()
                    meta = {'step': n, 'tokenizer': tokenizers.digest(tokenizer)}
                    meta |= {'data': {'next_index': n, 'digest': rows.digest}}
                    meta |= {'config': config.to_dict()}
                    loss = validation['loss'] if validation else math.nan
                    checkpoints.save(n, state, meta, loss if math.isfinite(loss) else None)

        before, leaving = None, False
        for n in range(start + 1, experiment.steps + 1):
            with speed.waiting():
                batch = first if n == start + 1 else next(ready)
            state, metrics = train_step(state, batch)
            if before is not None:
                settle(*before)
            before = n, metrics
            # Asked once: a signal that comes after this line waits for the next step.
            leaving = stop.after(n) and n < experiment.steps
            if report.busy(n, experiment) or leaving:
                settle(*before)
                before = None
                finish_step(n, leaving)
            if leaving:
                break
        checkpoints.wait()
        if leaving:
            if checkpoints.failed:
                raise UserError(f'stopped after step {n}, which could not be saved in {directory}')
            say(
                f'stopped after step {n}, saved in {directory}; the same command goes on from there'
            )
            return stop.exit_code

    ################################################################################
    # Numbers, a picture and samples.
    if start >= experiment.steps:
        print(f'the run is complete: step {start} of {experiment.steps}')
    if pod.leads:
        plots.loss_curve(writer.records, directory / 'loss.png', str(directory))
    few = 0 < rows.validation.text_bytes <= report.COMPRESSED_AT_MOST
    compared = ''.join(loaded.records('validation')).encode() if few else b''
    print(report.final(writer.records, compared, directory))
    how = experiment.sample
    chosen, room = Sampling(how.temperature, 0, how.top_p), how.tokens
    if target:
        room = min(room, target)
    state = state.replace(opt_state=None)  # its memory is for what writing needs
    writer_model = build_model(experiment, vocab, len(rows.classes), target, decode=True)
    speaker = Speaker(writer_model, state.params, tokenizer, objective, rows.classes, chosen, room)
    report.print_samples(speaker, how.prompts)
    print(f'total          {time.monotonic() - began:.0f} s')
    if checkpoints.failed:
        raise UserError(f'the last checkpoint was not saved; free space below {directory}')
    return 0


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
