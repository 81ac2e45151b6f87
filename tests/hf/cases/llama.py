from tests.hf.cases import Case

SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'vocab_size': 43,
    'max_position_embeddings': 32,
    'pad_token_id': 0,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
WIDE = SMALL | {'head_dim': 12}  # six pairs to turn
BIASED = {'head_dim': 6, 'attention_bias': True, 'mlp_bias': True}
LLAMA3 = {
    'rope_type': 'llama3',
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 16,
    'rope_theta': 50.0,
}
DYNAMIC = {'rope_type': 'dynamic', 'factor': 3.0}
HALF = {'rope_type': 'proportional', 'partial_rotary_factor': 0.5}
YARN = {'rope_type': 'yarn', 'factor': 4.0, 'rope_theta': 50.0}
PLACED = {'original_max_position_embeddings': 16}
TUNED = {'beta_fast': 8.0, 'beta_slow': 0.5, 'mscale': 1.3, 'mscale_all_dim': 0.7}
ROUGH = {'truncate': False, 'attention_factor': 0.8}
LONGROPE = {
    'rope_type': 'longrope',
    'short_factor': [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    'long_factor': [1.0, 1.5, 2.0, 3.0, 4.0, 6.0],
    'original_max_position_embeddings': 16,
}
FAR = {'rope_theta': 500_000.0, 'original_max_position_embeddings': 64}


def scaled(name: str, option: str, rope: dict, length: int = 40, **more) -> Case:
    """A language model with stretched positions; most read more tokens than they were made for."""
    config = WIDE | {'rope_parameters': rope}
    return Case(f'llama/{name}', 'LlamaForCausalLM', config, option, length=length, **more)


CASES = (
    Case('llama/lm', 'LlamaForCausalLM', SMALL | {'num_key_value_heads': 1}, fixture=True),
    Case('llama/base', 'LlamaModel', SMALL),
    Case('llama/classes', 'LlamaForSequenceClassification', SMALL | {'num_labels': 3}),
    Case('llama/token_classes', 'LlamaForTokenClassification', SMALL),
    Case('llama/answers', 'LlamaForQuestionAnswering', SMALL, fixture=True),
    Case(
        'llama/biases',
        'LlamaForCausalLM',
        SMALL | BIASED,
        'biases, heads of 6 (not D / N)',
    ),
    Case(
        'llama/tied',
        'LlamaForCausalLM',
        SMALL | {'tie_word_embeddings': True, 'hidden_act': 'gelu', 'rms_norm_eps': 1e-3},
        'tied embeddings, GELU, epsilon 1e-3',
    ),
    scaled('theta', 'rotary base 500 000, past the trained length', {'rope_theta': 500_000.0}),
    scaled('linear', 'linear positions', {'rope_type': 'linear', 'factor': 4.0}),
    scaled('dynamic_short', 'dynamic NTK, not yet needed', DYNAMIC, 32),
    scaled('dynamic', 'dynamic NTK, needed', DYNAMIC, cached=False),
    scaled('llama3', "Llama 3.1's positions", LLAMA3, fixture=True),
    scaled('llama3_far', "Llama 3.1's positions at place 3,000", LLAMA3 | FAR, 3000),
    scaled('yarn', 'YaRN', YARN | PLACED),
    scaled('yarn_tuned', 'YaRN with its own bounds and mscale', YARN | PLACED | TUNED),
    scaled('yarn_rough', 'YaRN, not truncated, its own attention factor', YARN | ROUGH),
    scaled('longrope_short', 'LongRoPE, short', LONGROPE, 16),
    scaled('longrope', 'LongRoPE, long', LONGROPE | {'factor': 3.0}),
    scaled('proportional', 'half of the pairs turn, the others not', HALF),
)
