"""Switch Transformers, https://arxiv.org/abs/2101.03961: T5 with experts in some layers."""

from typing import Any

from transformer.config import EncoderDecoderConfig
from transformer.errors import UserError
from transformer.heads import TokenHeadConfig
from transformer.hf.rules import Rule, linear
from transformer.hf.settings import Settings
from transformer.hf.table import Family, Head
from transformer.mlps import MLPConfig
from transformer.models.checkpoints import _ties, t5
from transformer.moe import MoEConfig

DEFAULT = {'d_model': 768, 'vocab_size': 32_128, 'num_heads': 12}


def sparse(s: Settings, side: str, layers: int) -> set[int]:
    """Numbers of the layers of one stack that have experts.

    config.json names how many there are and mostly their distance too, which counts. As in the
    original, none at all means one in the second layer, where there is a second.
    """
    count = s.get(f'num_sparse_{side}_layers', 3)
    step = s.get(f'{side}_sparse_step', layers // count if count > 0 else layers)
    return {i for i in range(layers) if step == 1 or (step > 0 and i % step == 1)}


def dense(s: Settings) -> MLPConfig:
    activation, dropout = s.activation('dense_act_fn', 'relu'), s.rate('dropout_rate', 0.1)
    return MLPConfig(s.size('d_ff', 2048), activation, dropout=dropout)


def experts(s: Settings) -> MoEConfig:
    """An expert takes `expert_capacity` tokens of a row, in inference too.

    With padding on the left the original lets it take some of them; here it never does.
    """
    mlp = dense(s)
    return MoEConfig(
        s.size('num_experts', 8),
        mlp.hidden,
        activation=mlp.activation,
        balance=s.number('router_aux_loss_coef', 1e-3),
        router_z=s.number('router_z_loss_coef', 1e-3),
        jitter=s.rate('router_jitter_noise', 0.01),
        limit=s.size('expert_capacity', 64),
        router_bias=s.flag('router_bias', False),
        dropout=mlp.dropout,
    )


def body(s: Settings) -> EncoderDecoderConfig:
    s.only('is_decoder', False)
    s.only('router_dtype', 'float32')
    s.only('router_type', 'tokens_masked')
    s.only('num_selected_experts', 1)
    s.only('batch_prioritized_routing', False)
    # The original has these fields and does not read them; its MLPs have no gate.
    s.ignore(
        'router_ignore_padding_tokens', 'add_router_probs', 'feed_forward_proj', 'is_gated_act'
    )
    layers = s.size('num_layers', 12)
    depth = s.size_or('num_decoder_layers', layers)

    def stack(side: str, layers: int):
        chosen = sparse(s, side, layers)
        mlp = lambda i: experts(s) if i in chosen else dense(s)  # noqa: E731
        return t5.stack(s, DEFAULT, layers, side == 'decoder', mlp)

    experts(s), dense(s)  # a model may have none of one kind; its settings are known all the same
    return t5.whole(s, DEFAULT, stack('encoder', layers), stack('decoder', depth))


def token_head(s: Settings) -> TokenHeadConfig:
    tied, width = s.flag('tie_word_embeddings', True), s.size('d_model', DEFAULT['d_model'])
    vocab = s.size('vocab_size', DEFAULT['vocab_size'])
    return TokenHeadConfig(vocab, tied, scale=width**-0.5 if tied else 1.0)


def settle(values: dict[str, Any], tensors: Any) -> dict[str, Any]:
    """Nothing is changed: config.json cannot say that a head is scaled and has its own kernel."""
    if values.get('tie_word_embeddings', True) and _ties.own_kernel(tensors):
        raise UserError(
            f'config.json: tie_word_embeddings=True, but {_ties.HEAD!r} is not the table of '
            'tokens; accepted: equal tensors, or tie_word_embeddings=false'
        )
    return values


def mlp_rules(ours: str, theirs: str) -> tuple[Rule, ...]:
    expert = f'{theirs}.mlp.experts.expert_{{expert}}'
    return (
        *linear(f'{ours}/up', f'{theirs}.mlp.wi', 'f', 'd'),
        *linear(f'{ours}/down', f'{theirs}.mlp.wo', 'd', 'f'),
        *linear(f'{ours}/router', f'{theirs}.mlp.router.classifier', 'e', 'd'),
        Rule(f'{ours}/experts_up/kernel', f'{expert}.wi.weight', 'f d -> d f'),
        Rule(f'{ours}/experts_down/kernel', f'{expert}.wo.weight', 'd f -> f d'),
    )


FAMILIES = (
    Family(
        'switch_transformers',
        'encoder_decoder',
        body,
        t5.body_rules(mlp_rules),
        '',
        {
            'SwitchTransformersForConditionalGeneration': Head('tokens', token_head, t5.LM_HEAD),
            'SwitchTransformersModel': Head(),
            'SwitchTransformersEncoderModel': Head(
                body=lambda s: t5.encoder_of(body(s)), shape='encoder'
            ),
        },
        unused=t5.UNUSED,
        start=t5.start,
        end=t5.end,
        copies=_ties.COPIES,
        settle=settle,
    ),
)
