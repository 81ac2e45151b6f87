"""Mixtral, https://arxiv.org/abs/2401.04088: Mistral with experts."""

from transformer.config import BlockConfig, TransformerConfig
from transformer.hf.rules import Rule, norm
from transformer.hf.settings import Settings, refusal
from transformer.models.checkpoints import llama
from transformer.models.checkpoints.llama import Defaults
from transformer.models.checkpoints.mistral import window
from transformer.moe import MoEConfig

DEFAULTS = Defaults(hidden=14_336, kv_heads=8, length=131_072, eps=1e-5, theta=1e6)


def moe(s: Settings, hidden: int, experts: int, top_k: int, layers: int, **more) -> MoEConfig:
    """Experts as the original's library trains them.

    Its loss is K E sum_e f_e p_e, with f and p means over the layers too; here it is the mean of
    the layers' losses, the same where they are alike. It is there only where the routers' logits
    are asked for.

    Args:
      layers: how many have experts.
    """
    if top_k > experts:
        raise refusal('num_experts_per_tok', top_k, f'at most {experts}, the number of experts')
    coefficient = s.number('router_aux_loss_coef', 0.001)
    asked = s.flag('output_router_logits', False)
    return MoEConfig(
        experts,
        hidden,
        top_k,
        activation=s.activation('hidden_act', 'silu'),
        gated=True,
        balance=coefficient * top_k / layers if asked else 0.0,
        router_z=0.0,
        **more,
    )


def body(s: Settings) -> TransformerConfig:
    d = DEFAULTS
    mixer, rms_norm = llama.attention(s, d, window=window(s, None)), llama.rms_norm(s, d)
    mlp = moe(
        s,
        s.size('intermediate_size', d.hidden),
        s.size('num_local_experts', 8),
        s.size('num_experts_per_tok', 2),
        s.size('num_hidden_layers', d.layers),
        normalize=True,
        jitter=s.rate('router_jitter_noise'),
        jitter_experts=True,
    )
    return llama.decoder(s, d, lambda layer: BlockConfig(mixer, mlp, rms_norm), rms_norm)


def experts(router: str, expert: str, gate: str, up: str, down: str) -> tuple[Rule, ...]:
    """Of the router and of all experts of a layer."""
    places = {'gate': (gate, 'f d -> d f'), 'up': (up, 'f d -> d f'), 'down': (down, 'd f -> f d')}
    return (
        Rule('stack/layer/mlp/router/kernel', f'layers.{{layer}}.{router}.weight', 'e d -> d e'),
        *(
            Rule(
                f'stack/layer/mlp/experts_{name}/kernel',
                f'layers.{{layer}}.{expert}.{{expert}}.{theirs}.weight',
                layout,
            )
            for name, (theirs, layout) in places.items()
        ),
    )


RULES = (
    *llama.EDGES,
    *llama.ATTENTION,
    *norm('stack/layer/mlp_norm', 'layers.{layer}.post_attention_layernorm'),
    *experts('block_sparse_moe.gate', 'block_sparse_moe.experts', 'w1', 'w3', 'w2'),
)

FAMILIES = (llama.family('mixtral', body, llama.heads('Mixtral', DEFAULTS), RULES),)
