"""Checkpoints by Orbax: asynchronous, atomic, checked, restored onto any mesh."""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from transformer import paths
from transformer.errors import UserError

LOSS = 'validation_loss'


class Checkpoints:
    """The checkpoints below a directory, one folder a step.

    A folder appears under its own name only once everything in it is written; what a killed or
    failed save leaves behind carries a temporary name and is removed at the next start. A
    checkpoint holds the items `params`, `rest` (optimizer state, random state, counts) and `meta`
    (JSON: step, data position, checksums).

    Args:
      directory: made if missing, unless `read_only`.
      keep_latest: how many of the newest stay.
      keep_best: how many of those with the lowest validation loss stay besides.
      read_only: whether nothing is ever written, moved or deleted.
      report: told, in a sentence, what goes wrong without ending the run.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_latest: int = 1,
        keep_best: int = 1,
        read_only: bool = False,
        report: Callable[[str], None] = print,
    ):
        policies = [checkpoint_managers.LatestN(keep_latest)]
        if keep_best:
            best = checkpoint_managers.BestN(
                get_metric_fn=_goodness, n=keep_best, keep_checkpoints_without_metrics=False
            )
            policies.append(best)
        self._directory = Path(directory).absolute()
        self._read_only, self._report = read_only, report
        self._pending: int | None = None
        self.failed = self._closed = False
        self._options = ocp.CheckpointManagerOptions(
            best_fn=_goodness,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
        )
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(self._directory, options=self._options)

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def best(self) -> int | None:
        """The step with the lowest validation loss, or None if no checkpoint has one."""
        with_loss = {step: self.validation_loss(step) for step in self.steps()}
        with_loss = {step: loss for step, loss in with_loss.items() if loss is not None}
        return min(with_loss, key=lambda step: (with_loss[step], step)) if with_loss else None

    def validation_loss(self, step: int) -> float | None:
        """The validation loss that was measured at a step's checkpoint, or None."""
        try:
            metrics = self._manager.metrics(step)
        except Exception:  # a damaged file: the checkpoint counts as one without a loss
            return None
        return metrics.get(LOSS) if metrics else None

    def save(self, step: int, state: Any, meta: dict, validation_loss: float | None = None) -> None:
        """Begins to save, and returns once the state may be overwritten.

        A save that fails, this one or the one before, is reported and leaves the older checkpoints
        as they are; `failed` says whether the newest save did.

        Args:
          state: a `TrainState`.
          meta: JSON-able, kept with the checkpoint.
          validation_loss: of this state, if it was measured; it decides which checkpoint is best.
        """
        self.wait()
        params, rest = _split(state)
        both = {'params': params, 'rest': rest}
        meta = meta | {'checksums': checksums(both), 'shapes': shapes(both)}
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            rest=ocp.args.StandardSave(rest),
            meta=ocp.args.JsonSave(meta),
        )
        metrics = None if validation_loss is None else {LOSS: float(validation_loss)}
        self._pending = step
        with self._survive():
            self._manager.save(step, args=items, metrics=metrics)

    def wait(self) -> None:
        """Returns once the save under way, if any, is complete or has failed."""
        if self._pending is not None:
            with self._survive():
                self._manager.wait_until_finished()
                self._pending, self.failed = None, False

    @contextlib.contextmanager
    def _survive(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever Orbax or the file system raised, training goes on
            step, self._pending, self.failed = self._pending, None, True
            with contextlib.suppress(Exception), _quiet():
                self._manager.close()
            self._manager = self._open()
            last = self.steps()
            where = (
                f'the newest good checkpoint is step {last[-1]}' if last else 'there is none yet'
            )
            self._report(
                f'the checkpoint of step {step} could not be saved in {self._directory}: '
                f'{_cause(error)}; {where}'
            )

    def restore(self, abstract_state: Any, step: int | None = None) -> tuple[Any, dict] | None:
        """The state and meta of a step, or of the newest checkpoint that is whole.

        Args:
          abstract_state: a `TrainState` of `jax.ShapeDtypeStruct` with shardings.

        Returns:
          None if there is no checkpoint at all.

        Raises:
          UserError: the asked step is damaged, or all checkpoints are.
        """
        params, rest = _split(abstract_state)

        def read(step: int) -> tuple[Any, dict]:
            items = {'params': params, 'rest': rest}
            found = self._read(step, items)
            state = abstract_state.replace(params=found['params'], **found['rest'])
            return state, found['meta']

        return self._newest_whole(read, step)

    def restore_params(self, abstract_params: Any, step: int | None = None):
        """Like `restore`, for the parameters alone: (params, meta) or None."""

        def read(step: int) -> tuple[Any, dict]:
            found = self._read(step, {'params': abstract_params})
            return found['params'], found['meta']

        return self._newest_whole(read, step)

    def _newest_whole(self, read: Callable[[int], tuple[Any, dict]], step: int | None):
        steps = self.steps()
        if not steps:
            return None
        wanted = steps[::-1] if step is None else [step]
        for i, step in enumerate(wanted):
            try:
                with _quiet():
                    return read(step)
            except UserError:
                raise
            except Exception as error:  # many kinds: JSON, TensorStore, a missing file
                is_last = i + 1 == len(wanted)
                then = (
                    'no older one is left' if is_last else f'falling back to step {wanted[i + 1]}'
                )
                message = (
                    f'checkpoint {self._directory / str(step)} is damaged ({_cause(error)}); {then}'
                )
                if is_last:
                    raise UserError(message) from None
                self._report(message)
                self._set_aside(step)
        return None

    def _read(self, step: int, items: dict[str, Any]) -> dict[str, Any]:
        only_meta = ocp.args.Composite(meta=ocp.args.JsonRestore())
        meta = self._manager.restore(step, args=only_meta)['meta']
        self._check_shapes(step, shapes(items), meta['shapes'], tuple(items))
        args = {name: ocp.args.StandardRestore(item) for name, item in items.items()}
        restored = self._manager.restore(step, args=ocp.args.Composite(**args))
        found = {name: restored[name] for name in items}
        for path, value in checksums(found).items():
            if value != meta['checksums'][path]:
                raise ValueError(f'checksum of {path} is {value}, not {meta["checksums"][path]}')
        return found | {'meta': meta}

    def _check_shapes(self, step: int, asked: dict, saved: dict, items: tuple[str, ...]) -> None:
        """A checkpoint of another model is not a damaged one: it is refused, and left alone."""
        saved = {path: shape for path, shape in saved.items() if path.split('/')[0] in items}
        for path in sorted(asked.keys() | saved.keys()):
            mine, theirs = asked.get(path, 'absent'), saved.get(path, 'absent')
            if mine != theirs:
                raise UserError(
                    f'checkpoint {self._directory / str(step)} is of another model or optimizer: '
                    f'{path} is {theirs} there and {mine} here'
                )

    def _set_aside(self, step: int) -> None:
        """Makes room for a new checkpoint of a damaged one's step; the files stay, renamed."""
        if self._read_only or jax.process_index():
            return
        aside = self._directory.parent / 'damaged'
        aside.mkdir(exist_ok=True)
        taken = len(list(aside.iterdir()))
        (self._directory / str(step)).rename(aside / f'{step}-{taken}')
        self._manager.close()
        self._manager = self._open()

    def close(self) -> None:
        """Waits for the save under way and ends the background threads; again does nothing."""
        if not self._closed:
            self.wait()
            self._manager.close()
            self._closed = True


def _goodness(metrics: dict[str, float]) -> float:
    return -metrics[LOSS]


def _split(state: Any) -> tuple[Any, dict]:
    rest = {k: v for k, v in vars(state).items() if k != 'params'}
    return state.params, rest


def shapes(tree: Any) -> dict[str, list[int]]:
    """The shape of each array by path."""
    return {p: list(x.shape) for p, x in zip(paths.names(tree), jax.tree.leaves(tree))}


def checksums(tree: Any) -> dict[str, int]:
    """For each array a sum of its words, weighted by place, modulo 2^32.

    Integer sums do not depend on their order, so neither mesh nor hosts change them.
    """
    return dict(zip(paths.names(tree), map(int, jax.device_get(_sums(jax.tree.leaves(tree))))))


@jax.jit
def _sums(leaves: list[jax.Array]) -> list[jax.Array]:
    def one(x: jax.Array) -> jax.Array:
        if x.dtype.itemsize > 4 or x.dtype == bool:
            x = x.astype(jnp.uint32)
        words = jax.lax.bitcast_convert_type(x, f'uint{8 * x.dtype.itemsize}').astype(jnp.uint32)
        place, stride = jnp.zeros(words.shape, jnp.uint32), 1
        for axis in reversed(range(words.ndim)):
            at = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
            place += at * np.uint32(stride % 2**32)
            stride *= words.shape[axis]
        # Odd weights have inverses modulo 2^32: no change to a single word goes unseen.
        return (words * (2 * place + 1)).sum(dtype=jnp.uint32)

    return [one(x) for x in leaves]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the tails of Orbax's failed coroutines off the terminal."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook


def _cause(error: BaseException) -> str:
    """The first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = (str(error).strip().splitlines() or [''])[0]
    return f'{type(error).__name__}: {line[:200]}'
