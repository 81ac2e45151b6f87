"""DeiT, https://arxiv.org/abs/2012.12877: ViT with a second extra vector, taught by a teacher."""

import functools

from transformer.heads import DistilledHeadConfig
from transformer.hf.rules import Rule, linear
from transformer.hf.table import Family, Head
from transformer.models.checkpoints.vit import (
    BODY,
    CLASSES,
    POOLER,
    UNUSED,
    body,
    class_head,
    pooled,
    settle,
)

EXTRA = Rule(
    'patches/extra', ('embeddings.cls_token', 'embeddings.distillation_token'), '1 1 d -> d'
)

FAMILIES = (
    Family(
        'deit',
        'vision',
        functools.partial(body, extra=2),
        (*BODY, EXTRA),
        'deit.',
        {
            'DeiTForImageClassificationWithTeacher': Head(
                'class',
                lambda s: DistilledHeadConfig(len(s.labels)),
                (
                    *linear('head/classes', 'cls_classifier', 'c', 'd'),
                    *linear('head/distilled', 'distillation_classifier', 'c', 'd'),
                ),
            ),
            'DeiTForImageClassification': Head('class', class_head, CLASSES),
            'DeiTModel': Head('pooled', pooled, POOLER, base=True),
        },
        unused=UNUSED,
        settle=settle,
    ),
)
