from tests.hf.cases import Case

SMALL = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'image_size': 12,
    'patch_size': 4,
}
ODD = {
    'image_size': [6, 6],
    'patch_size': [3, 3],
    'num_channels': 1,
    'qkv_bias': False,
    'hidden_act': 'quick_gelu',
    'layer_norm_eps': 1e-3,
    'pooler_output_size': 10,
    'pooler_act': 'relu',
}

CASES = (
    Case('vit/classes', 'ViTForImageClassification', SMALL | {'num_labels': 3}, fixture=True),
    Case('vit/base', 'ViTModel', SMALL),
    Case(
        'vit/no_biases',
        'ViTModel',
        SMALL | ODD,
        'no biases of queries, keys and values; grey images, a pooler of another width',
        fixture=True,
    ),
)
