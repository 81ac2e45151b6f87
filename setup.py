"""Packaging: `transformer*` is installed; scripts, `configs/` and `data/` run from the checkout."""

from pathlib import Path

import setuptools

JAX = 'jax>=0.10.2'  # 0.10 is the last series for Python 3.11

setuptools.setup(
    name='transformer',
    version='0.1.0',
    description='The Transformer family in JAX and Flax: readable, whole, fast and right',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=setuptools.find_packages(include=['transformer', 'transformer.*']),
    install_requires=[
        JAX,
        'flax>=0.12.8',
        'optax>=0.2.8',
        'orbax-checkpoint>=0.12.8',
        'grain>=0.2.18',
        'tensorflow-datasets>=4.9.10',
        'array_record>=0.8.1',
        'pyarrow>=17.0',
        'importlib_resources>=6.0',  # tensorflow-datasets 4.9.10 forgets to require it
        'ml-collections>=1.1.0',
        'tokenizers>=0.21',
        'safetensors>=0.6',
        'jinja2>=3.1.6',
        'numpy>=2.0',
        'tensorboardX>=2.6.4',
        'matplotlib>=3.9',
        'rich>=13.0',
    ],
    extras_require={
        'test': [
            'pytest>=8.0',
            'pytest-xdist>=3.6',
            'ruff>=0.12',
            'sacrebleu>=2.4',
            'scikit-learn>=1.5',
            'sentencepiece>=0.2',
            'tiktoken>=0.7',
            'fsspec>=2024.6',
            'nbclient>=0.10',  # with ipykernel: the notebook is run
            'ipykernel>=6.29',
            'jax[tpu]>=0.10.2; sys_platform == "linux" and platform_machine == "x86_64"',
        ],
        'hf': ['huggingface_hub>=0.34'],
        'eval': ['sacrebleu>=2.4'],
        'sentencepiece': ['sentencepiece>=0.2'],
        'tiktoken': ['tiktoken>=0.7'],
        'digits': ['scikit-learn>=1.5'],
        'remote': ['fsspec>=2024.6', 'gcsfs>=2024.6', 's3fs>=2024.6'],
        'datasets': ['datasets>=3.0'],
        'tpu': ['jax[tpu]>=0.10.2'],
        'gpu': ['jax[cuda13]>=0.10.2'],
        'cuda12': ['jax[cuda12]>=0.10.2'],
        'wandb': ['wandb>=0.20'],
        'docs': ['mkdocs>=1.6', 'mkdocs-material>=9.5', 'mkdocstrings[python]>=1.0'],
        'dev': ['pytest>=8.0', 'pytest-xdist>=3.6', 'ruff>=0.12', 'build>=1.0'],
    },
)
