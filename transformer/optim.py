"""The optimizer: AdamW with warm-up and cosine, decay on matrices only."""

from typing import Any

import optax

from transformer import paths
from transformer.experiment import Experiment

# Path of a parameter -> whether weight decay pulls at it.
DECAY = (
    (r'(.*/)?(scale|bias|A_log|D)', False),
    (r'(.*/)?(kernel|table|types|extra)', True),
)


def schedule(experiment: Experiment) -> optax.Schedule:
    """Learning rate of update n (from 0): linear up, then cosine down to a share of the peak."""
    o, steps, peak = experiment.optimizer, experiment.steps, experiment.learning_rate
    warmup = round(o.warmup * steps)
    return optax.join_schedules(
        [
            # The first update already moves: update n of the warm-up has rate (n + 1) / warmup.
            lambda n: peak * (n + 1) / max(warmup, 1),
            optax.cosine_decay_schedule(peak, max(steps - warmup, 1), alpha=o.final),
        ],
        [warmup],
    )


def decay_mask(params: Any) -> Any:
    """True for each parameter that weight decay pulls at."""
    return paths.match(DECAY, params, all_used=False)


def make(experiment: Experiment) -> optax.GradientTransformation:
    """AdamW, https://arxiv.org/abs/1711.05101, after clipping by the global norm."""
    o = experiment.optimizer
    adamw = optax.adamw(
        schedule(experiment),
        b1=o.b1,
        b2=o.b2,
        eps=o.eps,
        weight_decay=o.weight_decay,
        mask=decay_mask,
    )
    # Both keep a state of the same form, so that clipping may change in the middle of a run.
    clip = optax.clip_by_global_norm(o.clip) if o.clip else optax.identity()
    return optax.chain(clip, adamw)
