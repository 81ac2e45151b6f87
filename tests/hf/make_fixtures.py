"""Makes the fixtures of `test_fixtures.py` from the original. Needs torch and transformers.

python -m tests.hf.make_fixtures [NAME ...]
"""

import shutil
import sys
from pathlib import Path

import safetensors.numpy

from tests.hf import original
from tests.hf.cases import all_cases

FIXTURES = Path(__file__).with_name('fixtures')


def main() -> None:
    for name, case in all_cases().items():
        if not case.fixture or (sys.argv[1:] and name not in sys.argv[1:]):
            continue
        directory = FIXTURES / name
        shutil.rmtree(directory, ignore_errors=True)
        (directory / 'kept').mkdir(parents=True)
        model = original.make(case)
        original.save(case, model, directory)
        given = original.inputs(case, model)
        kept = {f'in.{k}': x for k, x in given.items()}
        kept |= {f'out.{k}': x for k, x in original.outputs(model, given).items()}
        safetensors.numpy.save_file(kept, directory / 'kept' / 'outputs.safetensors')
        size = sum(p.stat().st_size for p in directory.rglob('*') if p.is_file())
        print(f'{name:<40} {size:>8} bytes')


if __name__ == '__main__':
    main()
