"""What preflight reads of a compiled program's text."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from tests.compiler import needs_compiler, optimised
from transformer.preflight import devices, hlo, hlo_buffers, kinds

pytestmark = pytest.mark.xdist_group('preflight')
LOOPS = Path(__file__).with_name('programs').joinpath('loops.hlo').read_text(encoding='utf-8')


def test_loops_multiply_and_parts_of_an_exchange_are_one():
    found = hlo.collectives(LOOPS, {'data': 2, 'tensor': 2})
    seen = [(c.kind, c.bytes, c.axes, c.count) for c in found]
    assert seen == [
        ('collective-permute', 128, ('tensor',), 12),  # 0, 2, 4, 6 in each of 3 turns
        ('all-gather', 128, ('data',), 3),
        ('all-reduce', 128, ('data', 'tensor'), 1),
    ]
    assert found[1].groups == ((0, 2), (1, 3)) and found[2].op_name == 'the/sum'
    assert hlo.by_kind_and_axis(found) == {
        'collective-permute': {'tensor': 12 * 128},
        'all-gather': {'data': 3 * 128},
        'all-reduce': {'data+tensor': 128},
    }


def test_a_loop_without_a_known_end_counts_once():
    unknown = LOOPS.replace('%last = s32[] constant(3)', '%last = s32[] custom-call()')
    counts = [c.count for c in hlo.collectives(unknown)]
    assert counts == [4, 1, 1]


def test_what_the_hosts_carry_between_slices_counts():
    handler = '_xla_host_transfer_handler_name="xla_megascale_runtime"'
    kind = '_xla_megascale_transfer_type="ALL_REDUCE"'
    send = '%s = (f32[4,8]{1,0}, u32[], token[]) send(%y, %zero), channel_id=4, '
    send += f'frontend_attributes={{{handler},{kind}}}'
    text = LOOPS.replace('  ROOT %r =', f'  {send}\n  ROOT %r =')
    found = hlo.collectives(text, {'data': 2, 'tensor': 2})[-2]
    assert (found.kind, found.bytes, found.axes) == ('all-reduce between slices', 128, ('data',))


def test_a_sum_of_parts_among_zeros_is_a_gather():
    whole = '%y = f32[4,8]{1,0} get-tuple-element(%loop), index=1'
    zeros = '%none = f32[4,8]{1,0} broadcast(%zero), dimensions={}'
    part = 'f32[4,8]{1,0} dynamic-update-slice(%none, %x, %zero, %zero)'
    text = LOOPS.replace(whole, f'{zeros}\n  %y = {part}')
    assert [(c.kind, c.bytes) for c in hlo.collectives(text)][-1] == ('all-gather', 128)


def test_the_largest_buffers_are_as_they_lie_in_memory():
    made, given, *_ = hlo_buffers.largest(LOOPS)
    assert made == hlo_buffers.Buffer(
        8 * 128 * 2, 'bf16[3,100]', 'made/here'
    )  # filled up to whole tiles
    assert given == hlo_buffers.Buffer(128, 'f32[4,8]', 'argument x')


@pytest.mark.parametrize(
    ('written', 'groups'),
    [
        ('{{0,1},{2,3}}', ((0, 1), (2, 3))),
        ('[2,2]<=[4]', ((0, 1), (2, 3))),
        ('[2,2]<=[2,2]T(1,0)', ((0, 2), (1, 3))),
        ("mesh['a'=2,'b'=2] {'b'}", ((0, 1), (2, 3))),
        ("mesh['a'=2,'b'=2] {'a'}", ((0, 2), (1, 3))),
        ("mesh['a'=4] {'a':(1)2}", ((0, 2), (1, 3))),
        ("mesh['a'=4] {'a':(2)2}", ((0, 1), (2, 3))),
        ("mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}", ((0, 2), (1, 3))),
    ],
)
def test_groups_are_read_in_every_form(written, groups):
    line = f', replica_groups={written}, to_apply=%sum, metadata={{op_name="the/sum"}}'
    text = LOOPS.replace(LOOPS[LOOPS.index(', channel_id=3') : LOOPS.rindex('\n}')], line)
    assert hlo.collectives(text)[-1].groups == groups


def exchanging(devices):
    """A program whose exchanges are known: 3 turns over 256 KiB, then one of each."""
    mesh = Mesh(np.array(devices).reshape(2, 4), ('data', 'tensor'), (AxisType.Auto,) * 2)

    def local(x):
        def turn(x, _):
            whole = jax.lax.all_gather(x, 'tensor', axis=0, tiled=True)
            y = jax.lax.psum_scatter(jnp.tanh(whole), 'tensor', scatter_dimension=0, tiled=True)
            return jax.lax.ppermute(y, 'data', [(0, 1), (1, 0)]), None

        x, _ = jax.lax.scan(turn, x, None, length=3)
        y = jax.lax.all_to_all(x, ('data', 'tensor'), 0, 1, tiled=True)
        return jax.lax.psum(y.sum(), ('data', 'tensor'))

    split = PartitionSpec('tensor')
    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=split, out_specs=PartitionSpec(), check_vma=False
    )
    jitted = jax.jit(mapped, in_shardings=NamedSharding(mesh, split))
    x = jax.ShapeDtypeStruct((512, 128), jnp.float32)
    with optimised():
        return hlo.collectives(jitted.lower(x).compile().as_text(), mesh.shape)


@pytest.mark.parametrize('here', [True, pytest.param(False, marks=needs_compiler)])
def test_what_a_compiled_program_exchanges(here):
    found = jax.devices() if here else devices.tpus(kinds.topology('v5e:2x4'))
    seen = [(c.kind, c.bytes, c.axes, c.count) for c in exchanging(found)]
    assert seen == [
        ('all-gather', 2**18, ('tensor',), 3),
        ('reduce-scatter', 2**18, ('tensor',), 3),
        ('collective-permute', 2**16, ('data',), 3),
        ('all-to-all', 2**16, ('data', 'tensor'), 1),
        ('all-reduce', 4, ('data', 'tensor'), 1),
    ]
