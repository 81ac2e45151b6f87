"""Evaluates a trained model on its validation split, every token once.

python eval.py --workdir=runs/quickstart
"""

import json
from pathlib import Path

from transformer import cli, hardware


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--workdir', required=True, type=Path, help='of the training run')
    parser.add_argument('--checkpoint', default='best', help='best, latest or a step')
    parser.add_argument('--json', action='store_true', help='prints one JSON object')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: eval.py takes the config of the run')

    import absl.logging

    from data import pipeline, sources, tokenizers
    from data.packing import TokenStream
    from transformer import restore, terminal, workdir
    from transformer.evaluators import Perplexity
    from transformer.experiment import Experiment

    absl.logging.set_verbosity(absl.logging.ERROR)
    experiment = Experiment.from_config(workdir.read_config(flags.workdir))
    hardware.enable_compilation_cache(experiment.compilation_cache)
    tokenizer = tokenizers.load(flags.workdir / workdir.TOKENIZER)
    run = restore.load(flags.workdir, tokenizer, tokenizers.digest(tokenizer), flags.checkpoint)
    corpus = sources.load(experiment.data)
    stream = TokenStream.of(tokenizer, corpus.validation)
    ways = run.mesh.shape['data'] * run.mesh.shape['fsdp']
    rows = -(-experiment.batch_size // experiment.accumulation // ways) * ways
    batches = pipeline.eval_batches(stream, context=experiment.context, batch_size=rows)
    perplexity = Perplexity(run.model, run.mesh, run.param_shardings)
    values = dict(perplexity(run.params, batches, stream.text_bytes))
    if flags.json:
        print(json.dumps({'step': run.step, 'split': 'validation', **values}))
        return 0
    print(f'step {run.step}  validation of {corpus.name}')
    print(terminal.values(values))
    if run.validation_loss is not None:
        difference = abs(values['loss'] - run.validation_loss)
        print(f'training measured loss {run.validation_loss:.6f} here; difference {difference:.1e}')
    return 0


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
