"""A Hugging Face checkpoint as a model here: load it, call it, save it."""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from transformer import hardware, paths, sharding, writer
from transformer.context import Context
from transformer.errors import UserError
from transformer.hf import architecture as architectures
from transformer.hf import files, generation, inputs, weights
from transformer.hf.architecture import Architecture
from transformer.hf.files import Tensors
from transformer.models.assemble import Sizes


@flax.struct.dataclass
class Outputs:
    """What a model gives, by the original's names; None for what its class does not give.

    Attributes:
      logits: of a language model [B, T, V], of classes [B, C], of classes of tokens [B, T, C],
        of replaced tokens [B, T].
      last_hidden_state: of the (last) stack, [B, T, D].
      pooler_output: [B, D].
      start_logits, end_logits: of an answer's first and last token, [B, T].
      encoder_last_hidden_state: [B, S, D].
    """

    logits: jax.Array | None = None
    last_hidden_state: jax.Array | None = None
    pooler_output: jax.Array | None = None
    start_logits: jax.Array | None = None
    end_logits: jax.Array | None = None
    encoder_last_hidden_state: jax.Array | None = None


@dataclasses.dataclass
class Pretrained:
    """A model with its parameters, called with the original's input names.

    Attributes:
      model: a Linen module, `transformer.model`.
      params: its parameters, a nested dict.
      tokenizer: `hf.tokenizer.HFTokenizer`, or None where the directory has none.
      architecture: what its config.json describes.
      directory: where it was loaded from, or None.
      generation: the generation_config.json, {} where there is none.
    """

    model: Any
    params: Any
    tokenizer: Any
    architecture: Architecture
    directory: Path | None = None
    generation: dict[str, Any] = dataclasses.field(default_factory=dict)
    _ready: Any = dataclasses.field(default=None, init=False, repr=False, compare=False)

    @property
    def config(self) -> dict[str, Any]:
        """The config.json."""
        return dict(self.architecture.values)

    def __call__(self, **names) -> Outputs:
        """The original's outputs. Arrays are NumPy's or JAX's.

        Where no `attention_mask` is given, all tokens count. What stands at padding is not the
        original's: there a place sees other padding, in the original it sees the text.

        Raises:
          UserError: a name, a shape or a number that the model cannot read.
        """
        batch = inputs.batch_of(self.architecture, names)
        with self._precision():
            return self._forward(self.params, batch)

    def _precision(self) -> Any:
        """float32 with all its bits: accelerators multiply with fewer by default."""
        config = self.model.config
        stack = getattr(config, 'stack', None) or config.decoder
        return jax.default_matmul_precision('float32' if stack.dtype == 'float32' else None)

    def generate(self, input_ids: Any, attention_mask: Any = None, **options: Any) -> np.ndarray:
        """Text, a row for each prompt; `hf.generation.generate` says what there is to say."""
        with self._precision():
            return generation.generate(self, input_ids, attention_mask, **options)

    def writing(self) -> tuple[Any, Any]:
        """What `writer.ready` makes of the model and its parameters, kept for the next text."""
        if self._ready is None or self._ready[0] is not self.params:
            self._ready = self.params, writer.ready(self.model, self.params)
        return self._ready[1]

    @functools.cached_property
    def _forward(self) -> Any:
        kind, shape = self.architecture.head.kind, self.architecture.shape
        return jax.jit(functools.partial(forward, self.model, kind, shape))


def forward(model: Any, kind: str, shape: str, params: Any, batch: dict[str, Any]) -> Outputs:
    """`Outputs` of a batch as `inputs.batch_of` makes it."""
    run = functools.partial(model.apply, {'params': params})
    encoded = None
    if shape == 'vision':
        ctx = model.context(batch['images'])
        x_BTD, _ = run(batch['images'], ctx, method='hidden')
    elif shape == 'encoder_decoder':
        segments_BS = batch['segment_ids']
        source = Context.of(batch['inputs'], batch['positions'], segments_BS)
        encoded, _ = run(batch['inputs'], source, method='encode')
        ctx = Context.of(
            batch['decoder_inputs'],
            batch['decoder_positions'],
            batch['decoder_segment_ids'],
            memory_BSD=encoded,
            memory_segments_BS=segments_BS,
        )
        x_BTD, _, _ = run(batch['decoder_inputs'], ctx, method='hidden')
    else:
        ctx = Context.of(batch['inputs'], batch['positions'], batch['segment_ids'])
        x_BTD, _, _ = run(batch['inputs'], ctx, None, batch.get('types'), method='hidden')
    scores = None if model.config.head is None else run(x_BTD, ctx, method='logits')
    common = {'last_hidden_state': x_BTD, 'encoder_last_hidden_state': encoded}
    if kind == 'pooled':
        return Outputs(pooler_output=scores, **common)
    if kind == 'span':
        return Outputs(start_logits=scores[..., 0], end_logits=scores[..., 1], **common)
    if kind == 'replaced':
        scores = scores[..., 0]
    return Outputs(logits=scores, **common)


def load(
    path: str | Path,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    *,
    architecture: str = '',
    allow: Iterable[str] = (),
    revision: str | None = None,
) -> Pretrained:
    """The checkpoint of a directory, or of a hub id (with the extra `[hf]`).

    Args:
      path: a directory with config.json and model.safetensors (or shards and their index).
      mesh: where the parameters lie, by the rules of `transformer.sharding`; None means on one
        device. `sharding.make_mesh(MeshConfig(data=1, fsdp=-1))` shares them among all.
      dtype: of parameters and of the arithmetic, such as 'float32'; None means the checkpoint's.
      architecture: a class of the family instead of the one that config.json names; where it names
        none, it is the first whose tensors are all there.
      allow: fields of config.json that may be passed over though they are not known.
      revision: of a hub id.

    Raises:
      UserError: anything in the directory that cannot be used, by its name.
    """
    directory = files.locate(path, revision)
    values = architectures.values_of(directory)
    if dtype is not None and dtype not in weights.DTYPES.values():
        accepted = ', '.join(sorted(set(weights.DTYPES.values())))
        raise UserError(f'dtype={dtype!r} cannot be used; accepted: None, {accepted}')
    with Tensors(directory) as tensors:
        if not architecture and not values.get('architectures'):
            architecture = weights.class_of(values, tensors, allow)
        made = architectures.read(values, architecture, allow=allow)
        compute = dtype or weights.common_dtype(tensors)
        model = made.model(sizes(made, compute))
        shapes = architectures.shapes(model)
        pieces, _ = weights.check(tensors, made.pieces(shapes), made)
        layout = layouts(shapes, mesh)
        loaded = weights.load(tensors, pieces, made, layout, dtype)
    params = flax.traverse_util.unflatten_dict(loaded, sep='/')
    tokenizer = read_tokenizer(directory, made)
    generation = {}
    if (directory / files.GENERATION).is_file():
        generation = files.read_json(directory / files.GENERATION)
    return Pretrained(model, params, tokenizer, made, directory, generation)


def sizes(made: Architecture, dtype: str, **more) -> Sizes:
    """Of the model as the checkpoint has it, to be run on this machine."""
    tokens = getattr(made.config, 'tokens', None)
    fields = {
        'vocab': tokens.vocab if tokens else 0,
        'context': made.longest(),
        'target_context': made.longest('target_context'),
        'dtype': dtype,
        'unroll': hardware.resolve_unroll(0),
        'platform': jax.default_backend(),
        'decode': True,
    }
    return Sizes(**fields | more)


def layouts(shapes: Any, mesh: Mesh | None) -> dict[str, Any]:
    """Where each parameter lies, by path."""
    if mesh is None:
        one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return dict.fromkeys(paths.names(shapes), one)
    specs = sharding.param_specs(shapes, mesh)
    return {name: NamedSharding(mesh, spec) for name, spec in paths.leaves(specs).items()}


def read_tokenizer(directory: Path, made: Architecture) -> Any:
    """The tokenizer of a directory, or None.

    Raises:
      UserError: it is damaged, or has tokens that the model lacks.
    """
    from transformer.hf import tokenizer_files
    from transformer.hf.tokenizer import HFTokenizer

    if made.shape == 'vision' or not tokenizer_files.present(directory):
        return None

    tokenizer = HFTokenizer.from_directory(directory)
    vocab = made.config.tokens.vocab
    if tokenizer.vocab_size > vocab:
        raise UserError(
            f'{directory}: the tokenizer has {tokenizer.vocab_size} tokens, the embedding {vocab}; '
            'accepted: at most as many'
        )
    return tokenizer


def save(pretrained: Pretrained, path: str | Path, *, shard_bytes: int = files.SHARD_BYTES) -> None:
    """Writes a directory that `transformers` opens with `from_pretrained`.

    Args:
      path: a new or an empty directory.
      shard_bytes: size of a file of weights; more makes several with an index.

    Raises:
      UserError: the directory is taken, or cannot be written.
    """
    made = pretrained.architecture
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), pretrained.params)
    dtypes = {str(x.dtype) for x in jax.tree.leaves(shapes)}
    values = dict(made.values) | {'architectures': [made.name]}
    if len(dtypes) == 1:
        values.pop('torch_dtype', None)
        values['dtype'] = dtypes.pop()
    with files.made_whole(Path(path)) as directory:
        pieces, copies = made.pieces(shapes), made.copies
        weights.save(directory, pretrained.params, pieces, shard_bytes, copies)
        weights.write_json(directory / files.CONFIG, values)
        if pretrained.tokenizer is not None:
            pretrained.tokenizer.save(directory)
        if pretrained.generation:
            weights.write_json(directory / files.GENERATION, pretrained.generation)
        for name in files.COPIED:
            source = pretrained.directory / name if pretrained.directory else None
            if source and source.is_file() and not (directory / name).exists():
                (directory / name).write_bytes(source.read_bytes())


def cast(params: Any, dtype: str) -> Any:
    """All parameters in one type."""
    return jax.tree.map(lambda x: x.astype(jnp.dtype(dtype)), params)
