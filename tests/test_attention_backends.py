"""What a backend lacks it refuses; which one is chosen; that the TPU's compiles for TPUs."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from transformer.ops.attention import BACKENDS, LACKS, attend, choose
from transformer.ops.biases import Alibi, alibi_slopes
from transformer.ops.disentangled import Disentangled, Distances
from transformer.ops.masks import Mask

Q, K = np.ones((1, 4, 4, 8), np.float32), np.ones((1, 2, 12, 8), np.float32)

ASK = {
    'dropout': (Mask(), {'drop': lambda w: w}),
    'bias': (Mask(), {'bias': Alibi(alibi_slopes(4))}),
    'distances': (
        Mask(),
        {'bias': Disentangled(Distances(np.ones((8, 4)), 9, exact=False))},
    ),
    'softcap': (Mask(), {'softcap': 30.0}),
    'prefix': (Mask(prefix_BS=np.ones((1, 12), bool), causal=True), {}),
    'decode': (Mask(offset=8, causal=True), {}),
}


@pytest.mark.parametrize('backend, option', [(b, o) for b in LACKS for o in LACKS[b]])
def test_what_a_backend_lacks_it_refuses(backend, option):
    mask, asked = ASK[option]
    words = {'decode': 'query offset', 'distances': 'scores of distances'}.get(option, option)
    with pytest.raises(ValueError, match=f"'{backend}' has no {words}.*; use 'reference'"):
        attend(Q, K, K, mask, scale=1.0, backend=backend, **asked)


def test_an_offset_that_is_data_is_refused_by_splash():
    ask = lambda at: attend(Q, K, K, Mask(offset=at), scale=1.0, backend='splash')  # noqa: E731
    with pytest.raises(ValueError, match='query offset'):
        jax.jit(ask)(0)


def test_splash_refuses_causal_attention_to_another_sequence():
    with pytest.raises(ValueError, match='causal mask or window for 4 queries and 12 keys'):
        attend(Q, K, K, Mask(causal=True), scale=1.0, backend='splash')


@pytest.mark.skipif(jax.default_backend() == 'gpu', reason='needs a platform without cuDNN')
def test_cudnn_names_the_platform_it_needs():
    with pytest.raises(ValueError, match="needs platform gpu, not cpu; use 'reference' or 'xla'"):
        attend(Q, K, K, Mask(), scale=1.0, backend='cudnn')


@pytest.mark.parametrize('width, dtype, words', [(8, 'float32', 'float16'), (12, 'bfloat16', '8')])
def test_cudnn_names_what_its_kernels_take(monkeypatch, width, dtype, words):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    q = jnp.zeros((1, 1, 2, width), dtype)
    with pytest.raises(ValueError, match=f"attention backend 'cudnn' needs .*{words}.*; use"):
        attend(q, q, q, Mask(), scale=1.0, backend='cudnn')


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="'flash' is unknown; known: .*reference"):
        attend(Q, K, K, Mask(), scale=1.0, backend='flash')


@pytest.mark.parametrize(
    'platform, dtype, width, asked, expected',
    [
        ('cpu', 'float32', 64, {'dropout': True, 'bias': True, 'decode': True}, 'blocked'),
        ('cpu', 'bfloat16', 64, {'softcap': True, 'prefix': True}, 'blocked'),
        ('cpu', 'float32', 64, {'distances': True}, 'reference'),
        ('gpu', 'bfloat16', 64, {'bias': True, 'prefix': True, 'decode': True}, 'cudnn'),
        ('gpu', 'bfloat16', 64, {'softcap': True}, 'reference'),
        ('gpu', 'bfloat16', 65, {}, 'xla'),
        ('gpu', 'float32', 64, {}, 'xla'),
        ('tpu', 'bfloat16', 64, {'softcap': True}, 'splash'),
        ('tpu', 'bfloat16', 64, {'bias': True}, 'xla'),
        ('tpu', 'bfloat16', 64, {'decode': True, 'softcap': True}, 'reference'),
        ('tpu', 'bfloat16', 64, {'dropout': True}, 'reference'),
        ('cpu', 'float32', 64, {'context': True, 'bias': True, 'prefix': True}, 'ring'),
        ('cpu', 'float32', 64, {'context': True, 'distances': True}, 'reference'),
        ('gpu', 'bfloat16', 64, {'context': True, 'softcap': True}, 'ring'),
        ('gpu', 'bfloat16', 64, {'context': True, 'decode': True}, 'xla'),
        ('tpu', 'bfloat16', 64, {'context': True, 'softcap': True}, 'splash'),
        ('tpu', 'bfloat16', 64, {'context': True, 'bias': True}, 'ring'),
        ('tpu', 'bfloat16', 64, {'context': True, 'dropout': True}, 'reference'),
    ],
)
def test_choice(platform, dtype, width, asked, expected):
    chosen = choose(platform, dtype=dtype, head_width=width, **asked)
    assert chosen == expected
    assert not set(LACKS[chosen]) & set(asked)


def test_a_split_sequence_is_a_reason(caplog):
    choose.cache_clear()
    with caplog.at_level(logging.INFO, 'transformer'):
        choose('cpu', dtype='float32', head_width=64, dropout=True, context=True)
    assert "'reference'" in caplog.text and 'devices split the sequence' in caplog.text
    assert 'ring has no dropout on weights' in caplog.text


def test_the_choice_is_logged_once_with_its_reason(caplog):
    choose.cache_clear()
    with caplog.at_level(logging.INFO, 'transformer'):
        for _ in range(2):
            choose('tpu', dtype='bfloat16', head_width=64, bias=True)
    (record,) = caplog.records
    assert "attention backend 'xla'" in record.message
    assert 'splash has no bias on scores' in record.message


def test_the_table_names_every_backend():
    assert set(LACKS) == set(BACKENDS) and not LACKS['reference']


@pytest.mark.parametrize('split', ['', 'tensor', 'context'])
def test_splash_compiles_for_a_tpu(monkeypatch, split):
    """The kernel itself, forward and backward: one chip; four that split rows, heads, places."""
    pytest.importorskip('libtpu')
    monkeypatch.setenv('TPU_SKIP_MDS_QUERY', '1')
    devices = topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x2').devices
    shape = (2, 2) if split else (1, 1)
    chips = np.array(devices[: np.prod(shape)]).reshape(shape)
    mesh = Mesh(chips, ('data', split or 'tensor'), axis_types=(AxisType.Auto,) * 2)

    def array(spec, *shape, dtype='bfloat16'):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))

    def both(q, k, v, segments, cotangent):
        mask = Mask(segments, segments, causal=True, window=128)
        f = lambda *qkv: attend(*qkv, mask, scale=0.125, backend='splash', softcap=50.0)  # noqa: E731
        out, pull = jax.vjp(f, q, k, v)
        return out, pull(cotangent)

    spec = PartitionSpec('data', *{'context': (None, 'context')}.get(split, ('tensor',)))
    q, k = array(spec, 2, 4, 200, 64), array(spec, 2, 2, 200, 64)
    segments = array(PartitionSpec('data'), 2, 200, dtype='int32')
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        compiled = jax.jit(both).lower(q, k, k, segments, q).compile()
    assert compiled.as_text().count('custom_call_target="tpu_custom_call"') == 3
