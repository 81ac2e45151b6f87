"""From a Hugging Face directory to a work directory, and back."""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from transformer import cli, initial, objectives, restore, summary, workdir
from transformer.checkpoint import Checkpoints
from transformer.errors import UserError
from transformer.experiment import Experiment, default_config
from transformer.hf import native, pretrained
from transformer.hf.architecture import Architecture
from transformer.hf.pretrained import Pretrained
from transformer.hf.settings import refusal
from transformer.models.imported import ImportedOptions, settings
from transformer.step import TrainState

# (kind of the head, shape of the model) -> objective; None is any shape.
OBJECTIVES = {
    ('tokens', 'decoder'): 'next_token',
    ('tokens', 'encoder_decoder'): 'seq2seq',
    ('masked', 'encoder'): 'masked',
    ('class', 'encoder'): 'classification',
    ('class', 'decoder'): 'classification',
    ('class', 'vision'): 'image_classification',
    ('token_class', 'encoder'): 'token_classification',
    ('token_class', 'decoder'): 'token_classification',
}
# Special tokens of our own tokenizers -> what others call them.
ROLES = {
    'bos_token': '<|endoftext|>',
    'eos_token': '<|endoftext|>',
    'mask_token': '[MASK]',
    'cls_token': '[CLS]',
    'sep_token': '[SEP]',
}
LONGEST = 4096  # context of an imported run, where the checkpoint's is longer


def take_in(
    source: str,
    directory: Path,
    name: str,
    allow: Sequence[str],
    overrides: Mapping[str, str],
) -> int:
    """Makes a work directory of a checkpoint.

    Raises:
      UserError: a checkpoint whose head no objective has, or a work directory that is taken.
    """
    loaded = pretrained.load(source, dtype='float32', architecture=name, allow=allow)
    made = loaded.architecture
    config = config_of(made, allow)
    cli.override(config, dict(overrides))
    experiment = Experiment.from_config(config)
    if loaded.tokenizer is None and made.shape != 'vision':
        raise UserError(
            f'{source} has no tokenizer.json, which a work directory needs; to make one where '
            'transformers is: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)'
        )
    with workdir.opened(directory):
        # What a killed import left behind has neither, and is written again.
        if workdir.has_checkpoint(directory) or (directory / workdir.METRICS).exists():
            raise UserError(f'--workdir={directory} holds a run already; give another directory')
        digest = ''
        if loaded.tokenizer is not None:
            saved = tokenizer_json(loaded.tokenizer, made.start)
            digest = hashlib.sha256(saved.encode()).hexdigest()
            workdir.write_atomically(directory / workdir.TOKENIZER, saved)
        workdir.save_config(directory, config)
        initial.keep_original(source, directory)
        target = made.longest('target_context')
        tokens = loaded.tokenizer.vocab_size if loaded.tokenizer else 0
        workdir.save_task(directory, tokens, made.labels, min(target, LONGEST))
        _save(directory, loaded, config, experiment, digest)
    count = summary.parameter_count(loaded.params)
    print(f'{made.name}: {count:,} parameters -> {directory} ({experiment.objective.kind})')
    return 0


def tokenizer_json(tokenizer: Any, start: int | None) -> str:
    """The form in which `data.tokenizers` keeps it with a run."""
    saved = {'type': 'pretrained', 'start': start}
    return json.dumps(saved | {'tokenizer': json.loads(tokenizer.to_json())})


def objective_of(made: Architecture) -> str:
    """The objective whose models have such a head.

    Raises:
      UserError: there is none.
    """
    problem = made.values.get('problem_type')
    if made.labels and problem not in (None, 'single_label_classification'):
        accepted = 'null or single_label_classification, of which exactly one class is true'
        raise refusal('problem_type', problem, accepted)
    kind = OBJECTIVES.get((made.head.kind, made.shape))
    if kind is None:
        heads = made.family.heads.items()
        fits = [n for n, head in heads if (head.kind, head.shape or made.shape) in OBJECTIVES]
        raise UserError(
            f'{made.name} has no head that an objective trains; accepted: --architecture with one '
            f'of {", ".join(fits)} if its tensors are there, or train.py --config.init=DIR, which '
            'adds a fresh head'
        )
    return kind


def config_of(made: Architecture, allow: Sequence[str]) -> ml_collections.ConfigDict:
    """The config of a run of an imported model."""
    kind = objective_of(made)
    config = default_config(objectives.OBJECTIVES[kind].SHAPE, kind)
    values = settings(dict(made.values) | {'architectures': (made.name,)})
    model = {'family': ImportedOptions.family, 'hf': values, 'allow': tuple(allow)}
    config.model = ml_collections.ConfigDict(model | {'attention': 'auto'})
    config.init = str(made.name)
    config.data.tokenizer = 'init'
    if made.longest():
        config.context = min(made.longest(), LONGEST)
    return config


def _save(directory, loaded: Pretrained, config, experiment: Experiment, digest: str) -> None:
    zero = jnp.zeros((), jnp.int32)
    key = jax.random.key_data(jax.random.key(experiment.seed))
    state = TrainState(zero, loaded.params, (), key, zero)
    checkpoints = Checkpoints(directory / workdir.CHECKPOINTS, report=workdir.warn)
    try:
        meta = {'step': 0, 'tokenizer': digest, 'config': config.to_dict()}
        meta['data'] = {'next_index': 0, 'digest': ''}
        checkpoints.save(0, state, meta, None)
        checkpoints.wait()
    finally:
        checkpoints.close()
    if checkpoints.failed:
        raise UserError(f'the checkpoint was not saved; free space below {directory}')


def put_out(directory: Path, target: Path, checkpoint: str, dtype: str) -> int:
    """Makes a Hugging Face directory of a work directory.

    Raises:
      UserError: a model that no family of checkpoints has, or a directory that is taken.
    """
    loaded = of_run(directory, checkpoint, dtype)
    pretrained.save(loaded, target)
    print(f'{loaded.architecture.name} -> {target}')
    return 0


def of_run(directory: Path, checkpoint: str = 'best', dtype: str = 'float32') -> Pretrained:
    """The model of a run as `pretrained.load` gives those of directories."""
    if dtype not in ('float32', 'float16', 'bfloat16'):
        raise UserError(f'--dtype={dtype}: accepted: float32, float16, bfloat16')
    run = restore.load(directory, None, checkpoint)
    options, head = run.experiment.model, run.experiment.objective.HEAD
    if isinstance(options, ImportedOptions):
        made = options.architecture(head, run.classes)
    else:
        made = native.architecture_of(run.model.config, head, run.classes)
    tokenizer = None
    if (directory / workdir.TOKENIZER).is_file():
        tokenizer = read_tokenizer(directory / workdir.TOKENIZER)
    ends = ()
    if tokenizer is not None and run.experiment.objective.kind == 'chat':
        from data import chat, tokenizers

        own = tokenizers.load(directory / workdir.TOKENIZER)
        written = chat.Format(own, run.experiment.objective)
        tokenizer.chat_templates['default'], ends = written.template, written.ends
    values = initial.original_config(directory) | dict(made.values)
    if run.classes:  # said by id2label; the loss was that of one class out of many
        for name in ('num_labels', '_num_labels', 'problem_type'):
            values.pop(name, None)
    if not isinstance(options, ImportedOptions) and tokenizer is not None:
        # Ours begins and ends texts, and what a decoder writes, with one token, and has no padding.
        end = tokenizer.eos
        names = ('bos', 'eos', 'decoder_start')
        values |= {f'{name}_token_id': end for name in names} | {'pad_token_id': None}
        if ends:  # a turn ends, too
            values['eos_token_id'] = list(ends)
    made = dataclasses.replace(made, values=values)
    params = pretrained.cast(run.params, dtype)
    generation = {}
    kept = directory / initial.ORIGINAL
    if (kept / 'generation_config.json').is_file():
        generation = json.loads((kept / 'generation_config.json').read_text(encoding='utf-8'))
    return Pretrained(run.writer, params, tokenizer, made, kept, generation)


def read_tokenizer(file: Path) -> Any:
    """A run's tokenizer as a Hugging Face one; characters and bytes have none: None."""
    from transformer.hf.tokenizer import HFTokenizer

    saved = json.loads(file.read_text(encoding='utf-8'))
    if saved.get('type') == 'pretrained':
        return HFTokenizer.from_json(json.dumps(saved['tokenizer']))
    if 'type' in saved:
        workdir.warn(f'the tokenizer of {saved["type"]} has no form that others read: left out')
        return None
    names = {token['content'] for token in saved.get('added_tokens', ())}
    roles = {role: name for role, name in ROLES.items() if name in names}
    settings = roles | {'tokenizer_class': 'PreTrainedTokenizerFast'}
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / 'tokenizer.json').write_text(json.dumps(saved), encoding='utf-8')
        (Path(made) / 'tokenizer_config.json').write_text(json.dumps(settings), encoding='utf-8')
        return HFTokenizer.from_directory(made)
