from tests.hf.cases import Case
from tests.hf.cases.llama import SMALL

GROUPED = SMALL | {'num_attention_heads': 4, 'num_key_value_heads': 2}
WINDOW = {'use_sliding_window': True, 'sliding_window': 5, 'num_hidden_layers': 3}
FULL, SLIDING = 'full_attention', 'sliding_attention'
YARN = {'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 8}
QWEN3 = GROUPED | {'head_dim': 6}
EXPERTS = QWEN3 | {'num_experts': 4, 'num_experts_per_tok': 2, 'moe_intermediate_size': 12}
MIXED = {
    'num_hidden_layers': 4,
    'decoder_sparse_step': 2,
    'mlp_only_layers': [3],
    'norm_topk_prob': True,
    'output_router_logits': True,
    'attention_bias': True,
    'use_sliding_window': True,
    'sliding_window': 5,
}

CASES = (
    Case('qwen2/lm', 'Qwen2ForCausalLM', GROUPED),
    Case('qwen2/base', 'Qwen2Model', GROUPED),
    Case('qwen2/classes', 'Qwen2ForSequenceClassification', GROUPED | {'num_labels': 3}),
    Case('qwen2/token_classes', 'Qwen2ForTokenClassification', GROUPED),
    Case('qwen2/answers', 'Qwen2ForQuestionAnswering', GROUPED),
    Case(
        'qwen2/window',
        'Qwen2ForCausalLM',
        GROUPED | WINDOW | {'max_window_layers': 1, 'tie_word_embeddings': True},
        'a window of 5 from the second of three layers on, tied embeddings',
        fixture=True,
    ),
    Case(
        'qwen2/layers',
        'Qwen2ForCausalLM',
        GROUPED | WINDOW | {'layer_types': [SLIDING, FULL, SLIDING], 'rope_parameters': YARN},
        'layers by name, YaRN, past the trained length',
        length=40,
    ),
    Case('qwen3/lm', 'Qwen3ForCausalLM', QWEN3, 'heads of 6 (not D / N)', fixture=True),
    Case('qwen3/base', 'Qwen3Model', QWEN3),
    Case('qwen3/classes', 'Qwen3ForSequenceClassification', QWEN3 | {'num_labels': 3}),
    Case('qwen3/token_classes', 'Qwen3ForTokenClassification', QWEN3),
    Case('qwen3/answers', 'Qwen3ForQuestionAnswering', QWEN3),
    Case(
        'qwen3/window',
        'Qwen3ForCausalLM',
        QWEN3 | WINDOW | {'max_window_layers': 2, 'attention_bias': True, 'rms_norm_eps': 1e-3},
        'a window of 5 in the last layer, biases, epsilon 1e-3, past the trained length',
        length=40,
    ),
    Case('qwen3_moe/lm', 'Qwen3MoeForCausalLM', EXPERTS, 'two of four experts'),
    Case('qwen3_moe/base', 'Qwen3MoeModel', EXPERTS),
    Case('qwen3_moe/classes', 'Qwen3MoeForSequenceClassification', EXPERTS | {'num_labels': 3}),
    Case('qwen3_moe/token_classes', 'Qwen3MoeForTokenClassification', EXPERTS),
    Case('qwen3_moe/answers', 'Qwen3MoeForQuestionAnswering', EXPERTS),
    Case(
        'qwen3_moe/mixed',
        'Qwen3MoeForCausalLM',
        EXPERTS | MIXED,
        'experts in the second of four layers, normalised, a window of 5, biases',
        fixture=True,
        length=40,
    ),
)
