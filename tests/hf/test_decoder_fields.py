"""Fields of LLaMA's relatives: older words, what only training reads, and what is refused."""

import jax
import jax.numpy as jnp
import pytest

from tests.hf.cases import gpt2, llama
from transformer import registry
from transformer.context import Context
from transformer.errors import UserError
from transformer.hf import architecture
from transformer.mixers.attention import AttentionConfig
from transformer.moe import MoEConfig

NAMES = {
    'llama': 'LlamaForCausalLM',
    'mistral': 'MistralForCausalLM',
    'mixtral': 'MixtralForCausalLM',
    'qwen2': 'Qwen2ForCausalLM',
    'qwen3': 'Qwen3ForCausalLM',
    'qwen3_moe': 'Qwen3MoeForCausalLM',
    'gemma': 'GemmaForCausalLM',
    'gemma2': 'Gemma2ForCausalLM',
    'openai-gpt': 'OpenAIGPTLMHeadModel',
}


def read(kind: str, **values):
    """The config of a small model of the family."""
    small = gpt2.SMALL if kind == 'openai-gpt' else llama.SMALL | {'num_key_value_heads': 2}
    values = small | {'model_type': kind, 'architectures': [NAMES[kind]]} | values
    return architecture.read(values).config


def mixers(config) -> list[AttentionConfig]:
    return [block.mixer for block in config.stack.pattern] * config.stack.repeats


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, 'gelu_tanh'),
        ({'hidden_act': 'gelu'}, 'gelu_tanh'),
        ({'hidden_act': 'gelu', 'hidden_activation': None}, 'gelu_tanh'),
        ({'hidden_act': 'gelu', 'hidden_activation': 'gelu_pytorch_tanh'}, 'gelu_tanh'),
        ({'hidden_act': None, 'hidden_activation': 'silu'}, 'silu'),
    ],
)
def test_gemma_says_its_activation_in_two_fields(given, expected):
    assert read('gemma', **given).stack.pattern[0].mlp.activation == expected


def test_published_remarks_of_gemma2_change_nothing():
    remarks = {'hidden_act': 'gelu_pytorch_tanh', 'cache_implementation': 'hybrid'}
    more = {'sliding_window': 6, 'sliding_window_size': 6, 'hidden_activation': 'silu'}
    found = read('gemma2', **remarks, **more)
    assert found == read('gemma2', sliding_window=6, hidden_activation='silu')
    assert [mixer.window for mixer in mixers(found)] == [6, None]


@pytest.mark.parametrize('kind', ['mistral', 'mixtral'])
def test_null_means_no_window(kind):
    assert {m.window for m in mixers(read(kind, sliding_window=None))} == {None}
    assert {m.window for m in mixers(read(kind, sliding_window=7))} == {7}
    default = {'mistral': 4096, 'mixtral': None}[kind]
    assert {m.window for m in mixers(read(kind))} == {default}


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({}, [None] * 4),
        ({'use_sliding_window': True, 'max_window_layers': 3}, [None, None, None, 9]),
        ({'use_sliding_window': True}, [None] * 4),  # the first 28 layers see everything
        ({'use_sliding_window': True, 'max_window_layers': 0}, [9] * 4),
        ({'use_sliding_window': True, 'sliding_window': None, 'max_window_layers': 0}, [None] * 4),
    ],
)
def test_windows_of_qwen(values, expected):
    found = read('qwen2', **{'num_hidden_layers': 4, 'sliding_window': 9} | values)
    assert [mixer.window for mixer in mixers(found)] == expected


def test_experts_are_trained_as_the_original_does():
    values = {'num_experts_per_tok': 2, 'router_aux_loss_coef': 0.1, 'router_jitter_noise': 0.3}
    asked = read('mixtral', output_router_logits=True, **values).stack.pattern[0].mlp
    assert (asked.balance, asked.router_z) == (0.1 * 2 / 2, 0.0)  # K / L times the coefficient
    assert (asked.jitter, asked.jitter_experts, asked.normalize) == (0.3, True, True)
    assert read('mixtral', **values).stack.pattern[0].mlp.balance == 0


@pytest.mark.parametrize('noisy', [False, True])
def test_jitter_of_what_the_experts_read(noisy, key):
    """One expert has weight 1: only what it reads can change its output."""
    config = MoEConfig(1, 4, jitter=0.5, jitter_experts=noisy)
    x_BTD = jax.random.normal(key, (2, 3, 4))
    module, ones_BT = registry.build(config, width=4), jnp.ones((2, 3), jnp.int32)

    def run(train):
        ctx = Context.of(ones_BT, segments_BT=ones_BT, train=train)
        return module.apply(params, x_BTD, ctx, rngs={'dropout': key})[0]

    params = module.init({'params': key}, x_BTD, Context.of(ones_BT, segments_BT=ones_BT))
    assert bool(jnp.allclose(run(True), run(False))) != noisy


def test_dropout_is_read():
    found = read('openai-gpt', attn_pdrop=0.2, resid_pdrop=0.3, embd_pdrop=0.4)
    block = found.stack.pattern[0]
    assert (block.mixer.dropout, block.dropout, found.embed.dropout) == (0.2, 0.3, 0.4)
    for kind in NAMES:
        if kind != 'openai-gpt':
            assert mixers(read(kind, attention_dropout=0.2))[0].dropout == 0.2


@pytest.mark.parametrize(
    ('kind', 'values', 'words'),
    [
        ('llama', {'num_key_value_heads': 3}, ['num_key_value_heads=3', 'num_attention_heads=2']),
        ('llama', {'num_attention_heads': 3}, ['num_key_value_heads=2', 'divisor']),
        ('llama', {'hidden_size': 17}, ['num_attention_heads=2', 'hidden_size=17', 'head_dim']),
        ('llama', {'head_dim': 0}, ['head_dim=0', 'above 0']),
        ('llama', {'partial_rotary_factor': 0.5}, ['partial_rotary_factor=0.5', 'whole heads']),
        ('llama', {'sliding_window': 5}, ['sliding_window=5', 'not known']),
        ('mistral', {'sliding_window': 0}, ['sliding_window=0', 'above 0']),
        ('mixtral', {'num_experts_per_tok': 9}, ['num_experts_per_tok=9', 'at most 8']),
        ('qwen2', {'layer_types': ['full_attention']}, ['layer_types', '2 times']),
        ('qwen2', {'layer_types': ['full_attention', 'chunked']}, ['chunked', 'full_attention']),
        ('qwen2', {'layer_types': ['sliding_attention'] * 2}, ['layer_types', 'no sliding_window']),
        ('qwen3', {'max_window_layers': 'all'}, ["max_window_layers='all'", 'whole number']),
        ('gemma', {'use_bidirectional_attention': True}, ['use_bidirectional_attention=True']),
        (
            'gemma',
            {'hidden_act': 'silu', 'hidden_activation': 'gelu'},
            ["hidden_act='silu'", 'hidden_activation'],
        ),
        ('gemma2', {'attn_logit_softcapping': 0.0}, ['attn_logit_softcapping=0.0', 'above 0']),
        ('gemma2', {'final_logit_softcapping': -1.0}, ['final_logit_softcapping=-1.0', 'above 0']),
        ('openai-gpt', {'afn': 'gelu_new'}, ["afn='gelu_new'", 'gelu, relu, silu, swish']),
        ('openai-gpt', {'n_head': 3}, ['n_head=3', 'n_embd=16']),
    ],
)
def test_what_cannot_be_used_is_named(kind, values, words):
    with pytest.raises(UserError) as error:
        read(kind, **values)
    for word in words:
        assert word in str(error.value)
