"""What an evaluation may change of a run's config: how and on what it measures, not the model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from transformer import cli
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment

# Fields, and groups of fields.
ACCEPTED = (
    'context',
    'target_context',
    'batch_size',
    'loss_chunk',
    'dtype',
    'unroll',
    'compilation_cache',
    'mesh',
    'model.attention',
    'model.rope_scaling',
    'model.rope_factor',
    'model.rope_context',
    'data.mixture',
    'data.packing',
    'data.prepared',
    *(f'data.{field.name}' for field in dataclasses.fields(SourceConfig)),
)


def changed(
    config: ml_collections.ConfigDict, overrides: Mapping[str, str], task: Mapping[str, Any]
) -> Experiment:
    """The experiment of a run with fields overridden for its evaluation.

    Args:
      config: of the run; stays as it is.
      overrides: `--config.FIELD=VALUE` as strings, by field.
      task: of the run, `workdir.read_task`.

    Raises:
      UserError: a field that makes the model or its training what they are; the accepted ones are
        listed.
      ConfigError: a value that cannot be used, or places that learned positions do not have.
    """
    asked = config.copy_and_resolve_references()
    cli.override(asked, dict(overrides))
    trained = Experiment.from_config(config)
    accepted = ACCEPTED if trained.length else ACCEPTED[2:]  # images have no such lengths
    for field in overrides:
        if not any(field == name or field.startswith(f'{name}.') for name in accepted):
            known = ', '.join(accepted)
            raise UserError(f'--config.{field}: a trained model has its own; accepted: {known}')
    experiment = Experiment.from_config(asked)
    if getattr(experiment.model, 'positions', '') == 'learned' and trained.length:
        places = {
            'context': trained.context,
            'target_context': trained.target_context or task['target_context'],
        }
        for field, most in places.items():
            if getattr(experiment, field) > most:
                why = "the places that config.model.positions='learned' has vectors for"
                raise ConfigError(field, getattr(experiment, field), f'at most {most}, {why}')
    return experiment
