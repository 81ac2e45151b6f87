"""Checkpoints by Orbax: asynchronous, atomic, checked, restored onto any mesh."""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers
from orbax.checkpoint.options import MultiprocessingOptions

from transformer import contents, launch
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
        as they are; `failed` says whether the newest save did. Of several processes the others may
        wait for the one that failed, so that there the run ends.

        Args:
          state: a `TrainState`.
          meta: JSON-able, kept with the checkpoint.
          validation_loss: of this state, if it was measured; it decides which checkpoint is best.

        Raises:
          UserError: it failed in one of several processes.
        """
        self.wait()
        params, rest = _split(state)
        both = {'params': params, 'rest': rest}
        meta = contents.sealed(meta | contents.describe(both))
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
            if launch.here().count > 1:
                raise UserError(self._lost(step, error)) from error
            with contextlib.suppress(Exception), _quiet():
                self._manager.close()
            self._manager = self._open()
            self._report(self._lost(step, error))

    def _lost(self, step: int, error: Exception) -> str:
        last = [s for s in self.steps() if s != step]
        where = f'the newest good checkpoint is step {last[-1]}' if last else 'there is none yet'
        return (
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
        steps = launch.here().broadcast(self.steps())
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
                if launch.here().leads:
                    self._report(message)
                self._set_aside(step)
        return None

    def _read(self, step: int, items: dict[str, Any]) -> dict[str, Any]:
        def restore(**args: Any) -> Any:
            return _together(lambda: reader.restore(step, args=ocp.args.Composite(**args)))

        where = self._directory / str(step)
        with self._reader() as reader:
            meta = restore(meta=ocp.args.JsonRestore())['meta']
            contents.check_seal(meta)
            contents.check_shapes(items, meta, tuple(items), where)
            saved = contents.as_saved(items, meta, where)
            restored = restore(**{k: ocp.args.StandardRestore(item) for k, item in saved.items()})
        found = {name: restored[name] for name in items}
        contents.check_sums(found, meta)
        return contents.rounded(found, items) | {'meta': meta}

    @contextlib.contextmanager
    def _reader(self) -> Iterator[ocp.CheckpointManager]:
        """What reads: in each of several processes for itself, so that none waits for another."""
        pod = launch.here()
        if pod.count == 1:
            yield self._manager
            return
        alone = MultiprocessingOptions(
            primary_host=pod.index,
            active_processes={pod.index},
            barrier_sync_key_prefix=f'process_{pod.index}',
        )
        options = ocp.CheckpointManagerOptions(
            create=False, read_only=True, multiprocessing_options=alone
        )
        with ocp.CheckpointManager(self._directory, options=options) as reader:
            yield reader

    def _set_aside(self, step: int) -> None:
        """Makes room for a new checkpoint of a damaged one's step; the files stay, renamed."""
        if self._read_only:
            return
        if launch.here().leads:
            aside = self._directory.parent / 'damaged'
            aside.mkdir(exist_ok=True)
            taken = len(list(aside.iterdir()))
            (self._directory / str(step)).rename(aside / f'{step}-{taken}')
        launch.here().meet()  # nobody looks again before it is gone
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


class _Failed(Exception):
    """What failed, in whichever process; it reads as `_cause` wrote it there."""


def _together(action: Callable[[], Any]) -> Any:
    """What the action gives; where it fails in one of several processes, all raise."""
    pod = launch.here()
    if pod.count == 1:
        return action()
    found, problem = None, ''
    try:
        found = action()
    except Exception as error:  # told to all
        problem = _cause(error)
    problems = pod.gather(problem)
    if problem := pod.broadcast(next(filter(None, problems), '') if pod.leads else ''):
        raise _Failed(problem)
    return found


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
    if isinstance(error, _Failed):
        return str(error)
    line = (str(error).strip().splitlines() or [''])[0]
    return f'{type(error).__name__}: {line[:200]}'
