"""The data set `tiny_shakespeare` of TFDS, which needs TensorFlow to be made there, without it."""

import hashlib
import urllib.request

import tensorflow_datasets as tfds

URL = 'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt'
SHA256 = '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed'
NANOGPT = 'nanogpt'
TIMEOUT = 20  # seconds; the download manager of TFDS tries for minutes where there is no network


class TinyShakespeare(tfds.core.GeneratorBasedBuilder):
    """40,000 lines of Shakespeare in one document per split, cut by characters.

    The first 90% are `train`. Of the rest, `tiny_shakespeare` makes `validation` and `test`, 5%
    each, as TFDS does; `tiny_shakespeare/nanogpt` makes `validation` of all of it, as nanoGPT does.
    """

    name = 'tiny_shakespeare'
    VERSION = tfds.core.Version('1.0.0')
    # A name of its own keeps it apart from TFDS's tfrecord files in the same directory.
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name='array_record', description='90%, 5% and 5%.'),
        tfds.core.BuilderConfig(name=NANOGPT, description='90% and 10%.'),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({'text': tfds.features.Text()}),
            homepage='https://github.com/karpathy/char-rnn',
        )

    def _split_generators(self, dl_manager):
        with urllib.request.urlopen(URL, timeout=TIMEOUT) as response:
            raw = response.read()
        if hashlib.sha256(raw).hexdigest() != SHA256:
            raise ValueError(f'{URL} gave {len(raw)} bytes that are not the known text')
        text = raw.decode()
        train = int(len(text) * 0.9)
        if self.builder_config.name == NANOGPT:
            return {
                'train': self._generate_examples(text[:train]),
                'validation': self._generate_examples(text[train:]),
            }
        validation = train + int((len(text) - train) * 0.5)
        return {
            'train': self._generate_examples(text[:train]),
            'validation': self._generate_examples(text[train:validation]),
            'test': self._generate_examples(text[validation:]),
        }

    def _generate_examples(self, text: str):
        yield 'text', {'text': text}
