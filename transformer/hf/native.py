"""The config.json of a model that was trained here from nothing, where a family has such a model.

Each candidate writes down what its family would say of the model; it counts only if reading that
again gives the very same model. So nothing is exported that the original would compute otherwise.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from transformer.config import EncoderDecoderConfig, InitConfig, TransformerConfig, VisionConfig
from transformer.errors import UserError
from transformer.hf import architecture, settings
from transformer.hf.architecture import Architecture

ACTIVATIONS = {ours: theirs for theirs, ours in reversed(settings.ACTIVATIONS.items())}
# What is no mathematics of inference: where and how it runs, how it began, what training drops.
FREE = {'backend', 'dtype', 'remat', 'unroll', 'init', 'context', 'target_context'}


def architecture_of(config: Any, head: str, classes: tuple[str, ...]) -> Architecture:
    """The architecture of a model, as if it had been imported.

    Args:
      config: of the model.
      head: kind of its head.
      classes: their names, if there are any.

    Raises:
      UserError: no family has this model.
    """
    labels = {}
    if classes:
        labels['id2label'] = {str(i): name for i, name in enumerate(classes)}
        labels['label2id'] = {name: i for i, name in enumerate(classes)}
    for kind, candidates in CANDIDATES.items():
        for write in candidates if isinstance(config, kind) else ():
            try:
                values = write(config) | labels
                made = architecture.read(values, kind=head)
            except (AttributeError, UserError, TypeError):  # not at all of that family
                continue
            if _bare(made.config) == _bare(config):
                values['architectures'] = [made.name]
                return dataclasses.replace(made, values=values)
    raise UserError(
        'no family of checkpoints has a model like this one; accepted: what is, in every choice, a '
        'GPT-2, LLaMA, BERT, T5 or ViT, such as config.model.mlp="swiglu", norm="rmsnorm", '
        'positions="rope" and tied=False for LLaMA, or a run that began with config.init'
    )


def _bare(config: Any) -> Any:
    """The config without `FREE` fields and dropout, for comparison."""
    if dataclasses.is_dataclass(config) and not isinstance(config, InitConfig):
        fields = {}
        for field in dataclasses.fields(config):
            if field.name not in FREE and not field.name.startswith(('dropout', 'drop_path')):
                fields[field.name] = _bare(getattr(config, field.name))
        return _settled(type(config).__name__, config, fields)
    return tuple(map(_bare, config)) if isinstance(config, tuple) else config


def _settled(name: str, config: Any, fields: dict[str, Any]) -> Any:
    """Fields of which two values mean the same."""
    if 'scale' in fields and hasattr(config, 'head_width'):
        fields['scale'] = config.head_width**-0.5 if config.scale is None else config.scale
    if 'out_bias' in fields:
        fields['out_bias'] = config.bias if config.out_bias is None else config.out_bias
    fields.pop('dense_dropout', None)
    return name, tuple(sorted(fields.items()))


def gpt2(c: TransformerConfig) -> dict[str, Any]:
    block = c.stack.pattern[0]
    return {
        'model_type': 'gpt2',
        'vocab_size': c.tokens.vocab,
        'n_embd': c.stack.width,
        'n_layer': c.stack.layers,
        'n_head': block.mixer.heads,
        'n_inner': block.mlp.hidden,
        'n_positions': c.embed.positions.length,
        'activation_function': ACTIVATIONS[block.mlp.activation],
        'layer_norm_epsilon': block.norm.eps,
        'resid_pdrop': block.dropout,
        'embd_pdrop': c.embed.dropout,
        'attn_pdrop': block.mixer.dropout,
        'tie_word_embeddings': getattr(c.head, 'tied', True),
    }


def llama(c: TransformerConfig) -> dict[str, Any]:
    block = c.stack.pattern[0]
    rotary = block.mixer.rotary
    return {
        'model_type': 'llama',
        'vocab_size': c.tokens.vocab,
        'hidden_size': c.stack.width,
        'num_hidden_layers': c.stack.layers,
        'num_attention_heads': block.mixer.heads,
        'num_key_value_heads': block.mixer.kv_heads,
        'head_dim': block.mixer.head_width,
        'intermediate_size': block.mlp.hidden,
        'hidden_act': ACTIVATIONS[block.mlp.activation],
        'rms_norm_eps': block.norm.eps,
        'rope_parameters': {'rope_type': 'default', 'rope_theta': rotary.theta},
        'max_position_embeddings': c.context,
        'attention_bias': block.mixer.bias,
        'attention_dropout': block.mixer.dropout,
        'mlp_bias': block.mlp.bias,
        'tie_word_embeddings': getattr(c.head, 'tied', False),
    }


def mistral(c: TransformerConfig) -> dict[str, Any]:
    values = llama(c) | {'sliding_window': c.stack.pattern[0].mixer.window, 'model_type': 'mistral'}
    return {k: v for k, v in values.items() if k not in ('attention_bias', 'mlp_bias')}


def bert(c: TransformerConfig) -> dict[str, Any]:
    block = c.stack.pattern[0]
    return {
        'model_type': 'bert',
        'vocab_size': c.tokens.vocab,
        'hidden_size': c.stack.width,
        'num_hidden_layers': c.stack.layers,
        'num_attention_heads': block.mixer.heads,
        'intermediate_size': block.mlp.hidden,
        'hidden_act': ACTIVATIONS[block.mlp.activation],
        'layer_norm_eps': block.norm.eps,
        'max_position_embeddings': c.embed.positions.length,
        'type_vocab_size': c.embed.types,
        'hidden_dropout_prob': block.dropout,
        'attention_probs_dropout_prob': block.mixer.dropout,
    }


def t5(c: EncoderDecoderConfig) -> dict[str, Any]:
    block, relative = c.encoder.pattern[0], c.encoder.relative
    gate = 'gated-' if block.mlp.gated else ''
    return {
        'model_type': 't5',
        'vocab_size': c.tokens.vocab,
        'd_model': c.encoder.width,
        'd_kv': block.mixer.head_width,
        'd_ff': block.mlp.hidden,
        'num_layers': c.encoder.layers,
        'num_decoder_layers': c.decoder.layers,
        'num_heads': block.mixer.heads,
        'relative_attention_num_buckets': relative.buckets,
        'relative_attention_max_distance': relative.max_distance,
        'dropout_rate': block.dropout,
        'layer_norm_epsilon': block.norm.eps,
        'feed_forward_proj': gate + ACTIVATIONS[block.mlp.activation],
        'tie_word_embeddings': c.head.tied,
        'is_encoder_decoder': True,
    }


def vit(c: VisionConfig) -> dict[str, Any]:
    block, patches = c.stack.pattern[0], c.patches
    return {
        'model_type': 'vit',
        'hidden_size': c.stack.width,
        'num_hidden_layers': c.stack.layers,
        'num_attention_heads': block.mixer.heads,
        'intermediate_size': block.mlp.hidden,
        'hidden_act': ACTIVATIONS[block.mlp.activation],
        'layer_norm_eps': block.norm.eps,
        'image_size': patches.image,
        'patch_size': patches.patch,
        'num_channels': patches.channels,
        'qkv_bias': block.mixer.bias,
        'hidden_dropout_prob': block.dropout,
        'attention_probs_dropout_prob': block.mixer.dropout,
    }


CANDIDATES: dict[type, tuple[Callable[[Any], dict[str, Any]], ...]] = {
    TransformerConfig: (gpt2, llama, mistral, bert),
    EncoderDecoderConfig: (t5,),
    VisionConfig: (vit,),
}
