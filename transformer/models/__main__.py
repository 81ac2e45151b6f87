"""Prints every published model that is here with its number of parameters.

python -m transformer.models
python -m transformer.models --json
"""

import json

from transformer import cli


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--json', action='store_true', help='prints a JSON list of objects')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: these are the published sizes')

    import jax

    jax.config.update('jax_platforms', 'cpu')  # shapes only: no accelerator is taken

    from transformer.models.table import all_models

    models = all_models()
    if flags.json:
        records = [{'name': m.name, 'size': m.size, 'parameters': m.parameters()} for m in models]
        print(json.dumps(records, indent=1))
        return 0
    for m in models:
        print(f'{m.name:<12} {m.size:<10} {m.parameters():>17,}   {m.paper}', flush=True)
    return 0


if __name__ == '__main__':
    cli.run(main)
