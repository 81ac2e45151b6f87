"""Hugging Face checkpoints and work directories.

    python -m transformer.hf import DIR --workdir=RUN
    python -m transformer.hf export RUN DIR
    python -m transformer.hf verify DIR

`import` makes a work directory for eval.py, generate.py and `train.py --config.init=RUN`; `export`
makes a directory that transformers opens; `verify` compares each layer with the original, where
torch and transformers are installed.
"""

from pathlib import Path

from transformer import cli, hardware


def main() -> int:
    parser = cli.parser(__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='import|export|verify')
    into = commands.add_parser('import', help='a checkpoint into a work directory')
    into.add_argument('source', help='a directory, or a hub id')
    into.add_argument('--workdir', required=True, type=Path, help='new or empty')
    out = commands.add_parser('export', help='a work directory into a checkpoint')
    out.add_argument('workdir', type=Path, help='of a run that began with a checkpoint')
    out.add_argument('target', type=Path, help='new or empty')
    out.add_argument('--checkpoint', default='best', help='best, latest or a step')
    out.add_argument('--dtype', default='float32', help='of the files: float32, float16, bfloat16')
    compare = commands.add_parser('verify', help='differences from the original, layer by layer')
    compare.add_argument('source', type=Path, help='a directory')
    compare.add_argument('--tolerance', type=float, default=1e-4, help='greatest allowed (1e-4)')
    compare.add_argument('--json', action='store_true', help='prints one JSON object')
    for one in (into, compare):
        one.add_argument('--architecture', default='', help='a class of the family')
        one.add_argument(
            '--allow',
            action='append',
            default=[],
            metavar='FIELD',
            help='a field of config.json that may be passed over; may be given again',
        )
    flags, overrides = cli.parse(parser)
    if overrides and flags.command != 'import':
        parser.error(f'--config.{next(iter(overrides))}: accepted by import alone')

    import absl.logging

    from transformer.hf import runs, verify

    absl.logging.set_verbosity(absl.logging.ERROR)
    if flags.command == 'import':
        return runs.take_in(flags.source, flags.workdir, flags.architecture, flags.allow, overrides)
    if flags.command == 'export':
        return runs.put_out(flags.workdir, flags.target, flags.checkpoint, flags.dtype)
    return verify.report(flags)


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
