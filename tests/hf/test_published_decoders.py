"""config.json files as they were published, and the number of parameters that goes with each."""

import jax
import pytest

from transformer.hf import architecture
from transformer.models.assemble import Sizes

LLAMA = {
    'model_type': 'llama',
    'architectures': ['LlamaForCausalLM'],
    'attention_bias': False,
    'bos_token_id': 1,
    'eos_token_id': 2,
    'hidden_act': 'silu',
    'initializer_range': 0.02,
    'num_attention_heads': 32,
    'pretraining_tp': 1,
    'rms_norm_eps': 1e-05,
    'tie_word_embeddings': False,
    'torch_dtype': 'bfloat16',
    'transformers_version': '4.35.0',
    'use_cache': True,
}
MISTRAL = LLAMA | {
    'model_type': 'mistral',
    'architectures': ['MistralForCausalLM'],
    'hidden_size': 4096,
    'intermediate_size': 14336,
    'max_position_embeddings': 32768,
    'num_hidden_layers': 32,
    'num_key_value_heads': 8,
    'vocab_size': 32000,
}
del MISTRAL['attention_bias'], MISTRAL['pretraining_tp']
QWEN = {
    'attention_dropout': 0.0,
    'hidden_act': 'silu',
    'max_position_embeddings': 32768,
    'rms_norm_eps': 1e-06,
    'rope_theta': 1000000.0,
    'tie_word_embeddings': False,
    'use_sliding_window': False,
    'vocab_size': 152064,
}
QWEN3 = QWEN | {
    'model_type': 'qwen3',
    'architectures': ['Qwen3ForCausalLM'],
    'attention_bias': False,
    'head_dim': 128,
    'hidden_size': 4096,
    'intermediate_size': 12288,
    'max_position_embeddings': 40960,
    'max_window_layers': 36,
    'num_attention_heads': 32,
    'num_hidden_layers': 36,
    'num_key_value_heads': 8,
    'rope_scaling': None,
    'sliding_window': None,
    'vocab_size': 151936,
}
GEMMA = {
    'attention_bias': False,
    'attention_dropout': 0.0,
    'head_dim': 256,
    'max_position_embeddings': 8192,
    'rms_norm_eps': 1e-06,
    'rope_theta': 10000.0,
    'vocab_size': 256000,
}
GPT = {
    'model_type': 'openai-gpt',
    'architectures': ['OpenAIGPTLMHeadModel'],
    'afn': 'gelu',
    'attn_pdrop': 0.1,
    'embd_pdrop': 0.1,
    'initializer_range': 0.02,
    'layer_norm_epsilon': 1e-05,
    'n_ctx': 512,
    'n_embd': 768,
    'n_head': 12,
    'n_layer': 12,
    'n_positions': 512,
    'n_special': 0,
    'predict_special_tokens': True,
    'resid_pdrop': 0.1,
    'summary_activation': None,
    'summary_first_dropout': 0.1,
    'summary_proj_to_labels': True,
    'summary_type': 'cls_index',
    'summary_use_proj': True,
    'task_specific_params': {'text-generation': {'do_sample': True, 'max_length': 50}},
    'vocab_size': 40478,
}
PUBLISHED = {
    'Llama-2-7b': (
        LLAMA
        | {'hidden_size': 4096, 'intermediate_size': 11008, 'max_position_embeddings': 4096}
        | {'num_hidden_layers': 32, 'num_key_value_heads': 32, 'rope_scaling': None}
        | {'vocab_size': 32000},
        6_738_415_616,
    ),
    'Llama-3.1-8B': (
        LLAMA
        | {'hidden_size': 4096, 'intermediate_size': 14336, 'max_position_embeddings': 131072}
        | {'attention_dropout': 0.0, 'mlp_bias': False, 'num_hidden_layers': 32}
        | {'num_key_value_heads': 8, 'rope_theta': 500000.0, 'vocab_size': 128256}
        | {
            'rope_scaling': {
                'factor': 8.0,
                'low_freq_factor': 1.0,
                'high_freq_factor': 4.0,
                'original_max_position_embeddings': 8192,
                'rope_type': 'llama3',
            }
        },
        8_030_261_248,
    ),
    'TinyLlama-1.1B': (
        LLAMA
        | {'hidden_size': 2048, 'intermediate_size': 5632, 'max_position_embeddings': 2048}
        | {'num_hidden_layers': 22, 'num_key_value_heads': 4, 'rope_scaling': None}
        | {'rope_theta': 10000.0, 'vocab_size': 32000},
        1_100_048_384,
    ),
    'Mistral-7B-v0.1': (
        MISTRAL | {'rope_theta': 10000.0, 'sliding_window': 4096},
        7_241_732_096,
    ),
    'Mixtral-8x7B-v0.1': (
        MISTRAL
        | {'model_type': 'mixtral', 'architectures': ['MixtralForCausalLM']}
        | {'num_experts_per_tok': 2, 'num_local_experts': 8, 'output_router_logits': False}
        | {'rope_theta': 1000000.0, 'router_aux_loss_coef': 0.02, 'sliding_window': None},
        46_702_792_704,
    ),
    'Qwen2-7B': (
        QWEN
        | {'model_type': 'qwen2', 'architectures': ['Qwen2ForCausalLM'], 'hidden_size': 3584}
        | {'intermediate_size': 18944, 'max_window_layers': 28, 'num_attention_heads': 28}
        | {'num_hidden_layers': 28, 'num_key_value_heads': 4, 'sliding_window': 131072},
        7_615_616_512,
    ),
    'Qwen3-8B': (QWEN3, 8_190_735_360),
    'Qwen3-30B-A3B': (
        QWEN3
        | {'model_type': 'qwen3_moe', 'architectures': ['Qwen3MoeForCausalLM']}
        | {'decoder_sparse_step': 1, 'hidden_size': 2048, 'intermediate_size': 6144}
        | {'mlp_only_layers': [], 'moe_intermediate_size': 768, 'norm_topk_prob': True}
        | {'num_experts': 128, 'num_experts_per_tok': 8, 'num_hidden_layers': 48}
        | {'num_key_value_heads': 4, 'output_router_logits': False}
        | {'router_aux_loss_coef': 0.001, 'max_window_layers': 48},
        30_532_122_624,
    ),
    'gemma-2b': (
        GEMMA
        | {'model_type': 'gemma', 'architectures': ['GemmaForCausalLM'], 'hidden_act': 'gelu'}
        | {'hidden_activation': None, 'hidden_size': 2048, 'intermediate_size': 16384}
        | {'num_attention_heads': 8, 'num_hidden_layers': 18, 'num_key_value_heads': 1}
        | {'rope_scaling': None},
        2_506_172_416,
    ),
    'gemma-2-9b': (
        GEMMA
        | {'model_type': 'gemma2', 'architectures': ['Gemma2ForCausalLM'], 'hidden_size': 3584}
        | {'attn_logit_softcapping': 50.0, 'cache_implementation': 'hybrid'}
        | {'final_logit_softcapping': 30.0, 'hidden_act': 'gelu_pytorch_tanh'}
        | {'hidden_activation': 'gelu_pytorch_tanh', 'intermediate_size': 14336}
        | {'num_attention_heads': 16, 'num_hidden_layers': 42, 'num_key_value_heads': 8}
        | {'query_pre_attn_scalar': 256, 'sliding_window': 4096, 'sliding_window_size': 4096},
        9_241_705_984,
    ),
    'openai-gpt': (GPT, 116_534_784),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_reads_published_settings(name):
    values, count = PUBLISHED[name]
    made = architecture.read(values)
    sizes = Sizes(
        vocab=made.config.tokens.vocab,
        context=made.longest(),
        target_context=0,
        dtype='bfloat16',
        unroll=1,
        platform='cpu',
        decode=True,
    )
    shapes = architecture.shapes(made.model(sizes))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == count
    assert len(made.pieces(shapes)) == len(jax.tree.leaves(shapes))
