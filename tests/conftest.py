"""All tests see eight CPU devices, and a shape that is broadcast by accident is an error."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax
import pytest

jax.config.update('jax_num_cpu_devices', 8)
# Compiling is most of the time here. Whole runs (`test_train.py`) use the optimised programs.
jax.config.update('jax_disable_most_optimizations', True)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def key():
    return jax.random.key(0)
