"""Layout over a mesh of devices: the axes, one table of parameters, one of activations.

The axes: `data` copies everything and splits the batch; `fsdp` splits the batch, the parameters and
the optimizer state; `expert` splits the batch and the experts; `context` splits sequences; `tensor`
splits heads, hidden units and the vocabulary; `stage` splits layers, a pipeline.
"""

from transformer.sharding.activations import apply, at_use
from transformer.sharding.batches import (
    batch_spec,
    check_batch,
    check_context,
    put_batch,
    row_ways,
    rows_here,
)
from transformer.sharding.fits import check_model
from transformer.sharding.mesh import AXES, make_mesh, under
from transformer.sharding.rules import RULES, param_specs
from transformer.sharding.state import on_device, state_shardings

__all__ = [
    'AXES',
    'RULES',
    'apply',
    'at_use',
    'batch_spec',
    'check_batch',
    'check_context',
    'check_model',
    'make_mesh',
    'on_device',
    'param_specs',
    'put_batch',
    'row_ways',
    'rows_here',
    'state_shardings',
    'under',
]
