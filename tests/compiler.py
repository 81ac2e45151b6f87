"""For tests that compile for TPUs, which are not here."""

import contextlib
import importlib.util

import jax
import pytest

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec('libtpu') is None,
    reason='the compiler for TPUs is not installed: pip install -e ".[test]" brings it',
)


@contextlib.contextmanager
def optimised():
    """Within it programs are compiled as users have them; other tests compile in a hurry."""
    hurried = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', False)
    try:
        yield
    finally:
        jax.config.update('jax_disable_most_optimizations', hurried)
