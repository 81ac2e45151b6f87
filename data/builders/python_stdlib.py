"""The interpreter's own standard library as a TFDS data set: real text, no download."""

import hashlib
import platform
import sysconfig
import tokenize
from pathlib import Path

import tensorflow_datasets as tfds

# Tests, third-party packages and caches are left out.
LEFT_OUT = {'test', 'tests', 'idle_test', 'site-packages', 'dist-packages', '__pycache__'}
VALIDATION = 16  # one document in so many


def is_validation(path: str) -> bool:
    """Whether the document at this path is kept for validation; a function of the path alone."""
    digest = hashlib.sha256(path.encode()).digest()
    return int.from_bytes(digest[:8], 'big') % VALIDATION == 0


class PythonStdlib(tfds.core.GeneratorBasedBuilder):
    """One document a module: `path` relative to the library, and `text`.

    The corpus differs from one Python to the next, so each has a config of its own.
    """

    name = 'python_stdlib'
    VERSION = tfds.core.Version('1.0.0')
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name=f'{platform.python_implementation().lower()}-{platform.python_version()}',
            description='The standard library of this interpreter.',
        )
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {'path': tfds.features.Text(), 'text': tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            homepage='https://docs.python.org/3/library/',
            license='PSF-2.0',
        )

    def _split_generators(self, dl_manager):
        root = Path(sysconfig.get_paths()['stdlib'])
        paths = sorted(
            path.relative_to(root).as_posix()
            for path in root.rglob('*.py')
            if not LEFT_OUT.intersection(path.relative_to(root).parts)
        )
        if not paths:
            raise FileNotFoundError(f'no .py files below the standard library at {root}')
        return {
            'train': self._generate_examples(root, [p for p in paths if not is_validation(p)]),
            'validation': self._generate_examples(root, [p for p in paths if is_validation(p)]),
        }

    def _generate_examples(self, root: Path, paths: list[str]):
        for path in paths:
            try:
                with tokenize.open(root / path) as file:  # honours the coding cookie
                    text = file.read()
            except (SyntaxError, UnicodeDecodeError):
                continue  # a module that is deliberately broken
            if text:
                yield path, {'path': path, 'text': text}
