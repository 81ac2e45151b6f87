"""What a mesh must divide, told in the words of the config before anything is made."""

from typing import Any

from jax.sharding import Mesh

from transformer.errors import ConfigError

# Fields of `config.model` -> the axis of the mesh that divides them.
FIELDS = {'heads': 'tensor', 'kv_heads': 'tensor', 'hidden': 'tensor', 'experts': 'expert'}


def check_model(options: Any, mesh: Mesh) -> None:
    """Raises a `ConfigError` for heads, hidden units or experts that their axis does not divide.

    Args:
      options: `config.model`; what it leaves to other fields is checked with the parameters.
    """
    for field, axis in FIELDS.items():
        size, ways = getattr(options, field, 0), mesh.shape[axis]
        if isinstance(size, int) and size % ways:
            near = [n for n in range(1, size + 1) if size % n == 0]
            near = sorted(sorted(near, key=lambda n: abs(n - ways))[:2])
            such = ' or '.join(map(str, near))
            accepted = f'a divisor of config.model.{field}={size}, such as {such}'
            raise ConfigError(f'mesh.{axis}', ways, accepted)
