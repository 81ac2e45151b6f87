"""All tests see eight CPU devices, and a shape that is broadcast by accident is an error."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')  # several workers compile for TPUs
if 'TRANSFORMER_DATA' not in os.environ:  # prepared data of the tests go with them
    os.environ['TRANSFORMER_DATA'] = tempfile.mkdtemp(prefix='transformer-tests-')
    atexit.register(shutil.rmtree, os.environ['TRANSFORMER_DATA'], ignore_errors=True)

import jax
import pytest

jax.config.update('jax_num_cpu_devices', 8)
# Compiling is most of the time here. Whole runs (`test_train.py`) use the optimised programs.
jax.config.update('jax_disable_most_optimizations', True)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def key():
    return jax.random.key(0)
