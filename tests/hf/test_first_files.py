"""The config.json of well-known checkpoints as they were first published, older than the fields of
today, and the numbers of parameters that are known of them. Nothing is fetched or made.
"""

import math

import jax
import pytest

from transformer.errors import UserError
from transformer.hf import architecture
from transformer.hf.pretrained import sizes

NEOX = {
    'model_type': 'gpt_neox',
    'architectures': ['GPTNeoXForCausalLM'],
    'attention_probs_dropout_prob': 0,
    'hidden_dropout_prob': 0,
    'hidden_act': 'gelu_fast',
    'hidden_size': 6144,
    'intermediate_size': 24576,
    'layer_norm_eps': 1e-05,
    'max_position_embeddings': 2048,
    'num_attention_heads': 64,
    'num_hidden_layers': 44,
    'rotary_emb_base': 10000,
    'rotary_pct': 0.25,
    'tie_word_embeddings': False,
    'vocab_size': 50432,
}
GPTJ = {
    'model_type': 'gptj',
    'architectures': ['GPTJForCausalLM'],
    'activation_function': 'gelu_new',
    'gradient_checkpointing': False,
    'n_embd': 4096,
    'n_head': 16,
    'n_inner': None,
    'n_layer': 28,
    'n_positions': 2048,
    'rotary': True,
    'rotary_dim': 64,
    'scale_attn_weights': True,
    'summary_activation': None,
    'summary_first_dropout': 0.1,
    'summary_proj_to_labels': True,
    'summary_type': 'cls_index',
    'summary_use_proj': True,
    'tie_word_embeddings': False,
    'vocab_size': 50400,
}
PHI = {
    'model_type': 'phi',
    'architectures': ['PhiForCausalLM'],
    'hidden_size': 2560,
    'intermediate_size': 10240,
    'num_attention_heads': 32,
    'num_hidden_layers': 32,
    'num_key_value_heads': 32,
    'partial_rotary_factor': 0.4,
    'qk_layernorm': False,
    'resid_pdrop': 0.1,
    'rope_scaling': None,
    'rope_theta': 10000.0,
    'vocab_size': 51200,
}
BLOOM = {
    'model_type': 'bloom',
    'architectures': ['BloomForCausalLM'],
    'apply_residual_connection_post_layernorm': False,
    'attention_softmax_in_fp32': True,
    'bias_dropout_fusion': True,
    'masked_softmax_fusion': True,
    'n_embed': 1024,
    'n_inner': None,
    'n_layer': 24,
    'num_attention_heads': 16,
    'offset_alibi': 100,
    'pretraining_tp': 1,
    'seq_length': 2048,
    'skip_bias_add': True,
    'skip_bias_add_qkv': False,
    'slow_but_exact': False,
    'vocab_size': 250880,
}
OPT = {
    'model_type': 'opt',
    'architectures': ['OPTForCausalLM'],
    '_remove_final_layer_norm': False,
    'activation_dropout': 0.0,
    'activation_function': 'relu',
    'attention_dropout': 0.0,
    'do_layer_norm_before': True,
    'dropout': 0.1,
    'ffn_dim': 3072,
    'hidden_size': 768,
    'init_std': 0.02,
    'layerdrop': 0.0,
    'max_position_embeddings': 2048,
    'num_attention_heads': 12,
    'num_hidden_layers': 12,
    'prefix': '</s>',
    'vocab_size': 50272,
    'word_embed_proj_dim': 768,
}
OPT_350M = OPT | {
    'do_layer_norm_before': False,
    'ffn_dim': 4096,
    'hidden_size': 1024,
    'num_attention_heads': 16,
    'num_hidden_layers': 24,
    'word_embed_proj_dim': 512,
}
FALCON = {
    'model_type': 'falcon',
    'architectures': ['FalconForCausalLM'],
    'alibi': False,
    'apply_residual_connection_post_layernorm': False,
    'attention_dropout': 0.0,
    'auto_map': {'AutoConfig': 'configuration_falcon.FalconConfig'},
    'bias': False,
    'hidden_size': 4544,
    'multi_query': True,
    'new_decoder_architecture': False,
    'num_attention_heads': 71,
    'num_hidden_layers': 32,
    'parallel_attn': True,
    'vocab_size': 65024,
}
FALCON_40B = FALCON | {
    'hidden_size': 8192,
    'new_decoder_architecture': True,
    'num_attention_heads': 128,
    'num_hidden_layers': 60,
    'num_kv_heads': 8,
}
MAMBA = {
    'model_type': 'mamba',
    'architectures': ['MambaForCausalLM'],
    'conv_kernel': 4,
    'd_inner': 1536,
    'd_model': 768,
    'expand': 2,
    'fused_add_norm': True,
    'hidden_act': 'silu',
    'hidden_size': 768,
    'intermediate_size': 1536,
    'n_layer': 24,
    'num_hidden_layers': 24,
    'pad_vocab_size_multiple': 8,
    'residual_in_fp32': True,
    'rms_norm': True,
    'ssm_cfg': {},
    'state_size': 16,
    'time_step_rank': 48,
    'vocab_size': 50280,
}
VIT = {
    'model_type': 'vit',
    'architectures': ['ViTForImageClassification'],
    'id2label': {str(i): f'class {i}' for i in range(1000)},
    'image_size': 224,
    'patch_size': 16,
    'qkv_bias': True,
}
DEIT = VIT | {
    'model_type': 'deit',
    'architectures': ['DeiTForImageClassificationWithTeacher'],
}
# name: (config.json, parameters)
FILES = {
    'gpt-neox-20b': (NEOX, 20_554_567_680),
    'gpt-j-6b': (GPTJ, 6_050_882_784),
    'phi-2': (PHI, 2_779_683_840),
    'bloom-560m': (BLOOM, 559_214_592),
    'opt-125m': (OPT, 125_239_296),
    'opt-350m': (OPT_350M, 331_196_416),
    'falcon-7b': (FALCON, 6_921_720_704),
    'falcon-40b': (FALCON_40B, 41_303_293_952),
    'mamba-130m': (MAMBA, 129_135_360),
    'vit-base-patch16-224': (VIT, 86_567_656),
    'deit-base-distilled-patch16-224': (DEIT, 87_338_192),
}


@pytest.mark.parametrize('name', FILES)
def test_first_files_are_read(name):
    values, count = FILES[name]
    made = architecture.read(values)
    shapes = architecture.shapes(made.model(sizes(made, 'float32', unroll=1)))
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == count
    assert made.pieces(shapes)


REFUSED = {
    'gptj': (GPTJ | {'rotary_dim': 512}, 'rotary_dim=512'),
    'bloom': (
        BLOOM | {'apply_residual_connection_post_layernorm': True},
        'apply_residual_connection_post_layernorm=True',
    ),
    'opt': (OPT | {'layerdrop': 0.1}, 'layerdrop=0.1'),
    'falcon_heads': (FALCON_40B | {'num_kv_heads': 7}, 'num_kv_heads=7'),
    'falcon_norms': (FALCON | {'num_ln_in_parallel_attn': 2}, 'num_ln_in_parallel_attn=2'),
    'mamba_rank': (MAMBA | {'time_step_rank': 'half'}, "time_step_rank='half'"),
    'mamba_act': (MAMBA | {'hidden_act': 'relu'}, "hidden_act='relu'"),
    'vit': (VIT | {'image_size': [224, 196]}, r'image_size=\[224, 196\]'),
    'heads': (NEOX | {'num_attention_heads': 63}, 'num_attention_heads=63'),
    'width': (BLOOM | {'n_embed': 'wide'}, "n_embed='wide'"),
    'vit_patch': (VIT | {'patch_size': 15}, 'patch_size=15'),
    'neox': (NEOX | {'rotary_percent': 1.0}, "did you mean 'rotary_pct'"),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_not_there_is_refused_by_its_name(name):
    values, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        architecture.read(values)


def new_names(values, gone, **more):
    return {name: x for name, x in values.items() if name not in gone} | more


ROPE = {'rope_type': 'default', 'rope_theta': 500.0}
RENAMED = {
    'gpt_neox': (
        NEOX | {'rotary_pct': 0.5, 'rotary_emb_base': 500},
        new_names(
            NEOX,
            ('rotary_pct', 'rotary_emb_base'),
            rope_parameters=ROPE | {'partial_rotary_factor': 0.5},
        ),
        48,
    ),
    'phi': (
        PHI | {'rope_theta': 500.0},
        new_names(
            PHI,
            ('partial_rotary_factor', 'rope_theta', 'rope_scaling'),
            rope_parameters=ROPE | {'partial_rotary_factor': 0.4},
        ),
        32,
    ),
    'falcon': (
        FALCON | {'rope_theta': 500.0, 'rope_scaling': None},
        FALCON | {'rope_parameters': ROPE},
        None,
    ),
}


@pytest.mark.parametrize('name', RENAMED)
def test_old_and_new_names_of_positions_mean_the_same(name):
    old, new, width = RENAMED[name]
    made = [architecture.read(values).config for values in (old, new)]
    assert made[0] == made[1]
    rotary = made[0].stack.pattern[0].mixer.rotary
    assert (rotary.theta, rotary.width) == (500.0, width)


def test_old_and_new_names_of_sizes_mean_the_same():
    old = ('n_embed', 'num_attention_heads')
    new = new_names(BLOOM, old, hidden_size=1024, n_head=16)
    assert architecture.read(BLOOM).config == architecture.read(new).config
