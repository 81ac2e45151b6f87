"""ViT, https://arxiv.org/abs/2010.11929."""

import dataclasses
from typing import Any

from transformer.config import BlockConfig, StackConfig, VisionConfig
from transformer.heads import ClassHeadConfig
from transformer.hf.rules import Rule, linear, norm
from transformer.hf.settings import Settings, refusal
from transformer.hf.table import Family, Head
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.models.checkpoints._causal import head_width
from transformer.norms import LayerNormConfig
from transformer.patches import PatchesConfig
from transformer.positions import LearnedConfig

NO_POOLER = '_without_pooler'  # of ours


def side(s: Settings, name: str, default: int) -> int:
    """Of a square, which a file may write as a pair."""
    value = s.get(name, default)
    sides = list(value) if isinstance(value, list | tuple) else [value]
    if not all(type(x) is int and x > 0 for x in sides) or len(set(sides)) != 1:
        raise refusal(name, value, 'a whole number above 0, or the same one twice')
    return sides[0]


def body(s: Settings, extra: int = 1) -> VisionConfig:
    """The stack over patches, with `extra` vectors before them."""
    width, heads = s.size('hidden_size', 768), s.size('num_attention_heads', 12)
    dropout = s.rate('hidden_dropout_prob')
    layer_norm = LayerNormConfig(s.number('layer_norm_eps', 1e-12))
    s.ignore('encoder_stride')  # of the head that makes pixels
    s.ignore('pooler_act', 'pooler_output_size', NO_POOLER)  # of heads
    image, patch = side(s, 'image_size', 224), side(s, 'patch_size', 16)
    if image % patch:
        raise refusal('image_size', image, f'a multiple of patch_size={patch}')
    attention = AttentionConfig(
        heads,
        heads,
        s.size_or('head_dim', 0) or head_width(width, heads),
        bias=s.flag('qkv_bias', True),
        out_bias=True,
        dropout=s.rate('attention_probs_dropout_prob'),
    )
    mlp = MLPConfig(
        s.size('intermediate_size', 3072), s.activation('hidden_act', 'gelu'), bias=True
    )
    block = BlockConfig(attention, mlp, layer_norm, dropout=dropout)
    patches = PatchesConfig(image, patch, s.size('num_channels', 3), width, extra, dropout=dropout)
    places = LearnedConfig(patches.length)
    return VisionConfig(
        patches=dataclasses.replace(patches, positions=places),
        stack=StackConfig(
            width, (block,), s.size('num_hidden_layers', 12), layer_norm, causal=False
        ),
        head=None,
    )


def settle(values: dict[str, Any], tensors: Any) -> dict[str, Any]:
    """Only the tensors say whether a model without a head has a pooler, as DINO's have not."""
    has = any(name.endswith('pooler.dense.weight') for name in tensors.names())
    return values if has else values | {NO_POOLER: True}


def pooled(s: Settings) -> ClassHeadConfig | None:
    if s.flag(NO_POOLER, False):
        return None
    width = s.get('pooler_output_size') or 0
    return ClassHeadConfig(0, 'first', s.activation('pooler_act', 'tanh'), dense=width)


LAYER = (
    *norm('stack/layer/mixer_norm', 'encoder.layer.{layer}.layernorm_before'),
    *linear(
        'stack/layer/mixer/query', 'encoder.layer.{layer}.attention.attention.query', 'n h', 'd'
    ),
    *linear('stack/layer/mixer/key', 'encoder.layer.{layer}.attention.attention.key', 'n h', 'd'),
    *linear(
        'stack/layer/mixer/value', 'encoder.layer.{layer}.attention.attention.value', 'n h', 'd'
    ),
    *linear('stack/layer/mixer/out', 'encoder.layer.{layer}.attention.output.dense', 'd', 'n h'),
    *norm('stack/layer/mlp_norm', 'encoder.layer.{layer}.layernorm_after'),
    *linear('stack/layer/mlp/up', 'encoder.layer.{layer}.intermediate.dense', 'f', 'd'),
    *linear('stack/layer/mlp/down', 'encoder.layer.{layer}.output.dense', 'd', 'f'),
    *norm('stack/norm', 'layernorm'),
)
BODY = (
    Rule(
        'patches/project/kernel',
        'embeddings.patch_embeddings.projection.weight',
        'd c p q -> p q c d',
    ),
    Rule('patches/project/bias', 'embeddings.patch_embeddings.projection.bias'),
    Rule('patches/positions/table', 'embeddings.position_embeddings', '1 t d -> t d'),
    *LAYER,
)
CLASSES = linear('head/classes', 'classifier', 'c', 'd')
POOLER = linear('head/dense', 'pooler.dense', 'e', 'd')
UNUSED = (r'embeddings\.mask_token',)  # of masked image modeling


def class_head(s: Settings) -> ClassHeadConfig:
    return ClassHeadConfig(len(s.labels), 'first')


FAMILIES = (
    Family(
        'vit',
        'vision',
        body,
        (*BODY, Rule('patches/extra', 'embeddings.cls_token', '1 x d -> x d')),
        'vit.',
        {
            'ViTForImageClassification': Head('class', class_head, CLASSES),
            'ViTModel': Head('pooled', pooled, POOLER, base=True),
        },
        unused=UNUSED,
        settle=settle,
    ),
)
