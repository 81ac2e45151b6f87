"""Run in several processes: `python -m tests.pod_checkpoints DIRECTORY ACTION`, with launch flags.

Saves two checkpoints of arrays that are split over all devices (`save`), restores the newest whole
one (`restore`), or fails to save in the last process (`fail`).
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from transformer import cli, launch
from transformer.checkpoint import Checkpoints
from transformer.contents import checksums
from transformer.step import TrainState


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('directory', type=Path)
    parser.add_argument('action')
    launch.add_flags(parser)
    flags, _ = cli.parse(parser)
    launch.start(flags)
    mesh = jax.make_mesh((jax.device_count(),), ('x',), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec('x'))
    whole = NamedSharding(mesh, PartitionSpec())
    layout = TrainState(whole, {'a': split}, (), whole, whole)

    def make(n):
        a = n * jnp.arange(2.0**14).reshape(256, 64)
        return TrainState(jnp.int32(n), {'a': a}, (), jnp.zeros(2, 'uint32'), jnp.int32(0))

    checkpoints = Checkpoints(flags.directory, keep_latest=2)
    if flags.action == 'restore':
        shapes = jax.eval_shape(make, 0)
        abstract = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, layout
        )
        state, meta = checkpoints.restore(abstract)
        assert checksums(state) == checksums(make(meta['step']))
        print('restored', meta['step'])
    else:
        if flags.action == 'fail' and launch.here().index == launch.here().count - 1:
            checkpoints._manager.save = None
        for n in (1, 2):
            state = jax.jit(make, static_argnums=0, out_shardings=layout)(n)
            checkpoints.save(n, state, {'step': n})
    checkpoints.close()
    return 0


if __name__ == '__main__':
    cli.run(main)
