"""What the training script says: when, how fast, and at the end."""

import contextlib
import gzip
import lzma
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformer import hardware, terminal, workdir
from transformer.errors import UserError
from transformer.experiment import Experiment
from transformer.respond import Speaker, respond

WAIT_AT_MOST = 0.05  # share of the time
JUDGED = 1.0  # seconds of training over which that is judged, at least: a hiccup is none of it
COMPRESSED_AT_MOST = 64 << 20  # bytes of validation text; xz takes a second a megabyte


def due(n: int, every: int, last: int) -> bool:
    """Whether something happens after step n: at multiples of `every`, and after the last step."""
    return n == last or (every > 0 and n % every == 0)


def busy(n: int, experiment: Experiment) -> bool:
    """Whether step n is followed by an evaluation or a checkpoint."""
    return due(n, experiment.eval_every, experiment.steps) or due(
        n, experiment.checkpoint_every, experiment.steps
    )


class Speed:
    """Tokens per second, and the share of the peak (MFU) where the peak is known.

    Says once where more than `WAIT_AT_MOST` of the time is lost to waiting for data.

    Args:
      tokens: of one step, padding included.
      flops: of one step, `summary.flops_per_row`.
      devices: how many share the work.
    """

    def __init__(self, tokens: int, flops: float, devices: int):
        self._tokens, self._flops, self._devices = tokens, flops, devices
        self._last: tuple[int, float] | None = None
        self._paused = self._waited = 0.0
        self._judged: tuple[int, float, float] | None = None  # from which step; waited, in all
        self._warned = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count as training time."""
        begin = time.monotonic()
        yield
        self._paused += time.monotonic() - begin

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """What happens inside counts as waiting for data, as `prefetch.Ahead` makes one wait."""
        begin = time.monotonic()
        yield
        self._waited += time.monotonic() - begin

    def since_last(self, step: int) -> dict[str, float]:
        """`tokens_per_second`, `data_wait` (share of the time) and `mfu`, since the last call."""
        now = time.monotonic()
        last, self._last = self._last, (step, now)
        paused, self._paused = self._paused, 0.0
        waited, self._waited = self._waited, 0.0
        if last is None:
            return {}
        seconds = max(now - last[1] - paused, 1e-9)
        rate = (step - last[0]) * self._tokens / seconds
        values = {'tokens_per_second': rate, 'data_wait': waited / seconds}
        peak = hardware.peak_flops()
        if peak:
            steps = rate / self._tokens
            values['mfu'] = steps * self._flops / (peak * self._devices)
        # The first interval still fills the buffers.
        self._judged = self._judge(waited, seconds, step) if self._judged else (step, 0.0, 0.0)
        return values

    def _judge(self, waited: float, seconds: float, step: int) -> tuple[int, float, float]:
        begin, before, time_before = self._judged
        waited, seconds = before + waited, time_before + seconds
        if seconds < JUDGED:
            return begin, waited, seconds
        if waited / seconds > WAIT_AT_MOST and not self._warned:
            self._warned = True
            workdir.warn(
                f'{waited / seconds:.0%} of the time since step {begin} went into waiting for '
                'data: more config.data.workers make it in parallel, a larger config.data.prefetch '
                'evens it out, and python -m data.prepare with this config tokenises it beforehand'
            )
        return step, 0.0, 0.0


class SourceLosses:
    """Means of the sources of a mixture, over the steps between two records.

    A step that is not finite is left out, of its sources alone.
    """

    def __init__(self):
        self._nats: dict[str, float] = {}
        self._tokens: dict[str, float] = {}

    def add(self, values: dict[str, float]) -> None:
        """Takes `nats/NAME` and `tokens/NAME` of a step out of `values`."""
        for key in [key for key in values if key.startswith('nats/')]:
            name = key.removeprefix('nats/')
            nats, tokens = values.pop(key), values.pop(f'tokens/{name}')
            self._tokens.setdefault(name, 0.0)
            if math.isfinite(nats) and math.isfinite(tokens):
                self._nats[name] = self._nats.get(name, 0.0) + nats
                self._tokens[name] += tokens

    def since_last(self) -> dict[str, float]:
        """`loss/NAME` of each source that had a target since the last call, `tokens/NAME` of all.

        The tokens are those since the last call: over all records they add up to those of the run.
        """
        record = {}
        for name, tokens in self._tokens.items():
            if tokens:
                record[f'loss/{name}'] = self._nats[name] / tokens
            record[f'tokens/{name}'] = int(tokens)
        self._nats, self._tokens = {}, dict.fromkeys(self._tokens, 0.0)
        return record


def final(records: list[dict], text: bytes, directory: Path) -> str:
    """The last and the best validation numbers; beside bits per byte, those of two compressors.

    Args:
      text: the validation text, or nothing where bits per byte make no sense.
    """
    found = [r for r in records if r['split'] == 'validation']
    lines = ['']
    best = min(found, key=lambda r: float(r['loss']), default=None)
    for name, r in (('last', found[-1] if found else None), ('best', best)):
        if r is not None:
            values = {k: v for k, v in r.items() if k not in ('step', 'split')}
            lines.append(f'{name} validation, step {r["step"]}: {terminal.values(values)}')
    if 0 < len(text) <= COMPRESSED_AT_MOST:
        sizes = {
            'gzip -9': len(gzip.compress(text, 9)),
            'xz -9': len(lzma.compress(text, preset=9)),
        }
        both = ', '.join(f'{k} {8 * v / len(text):.4f}' for k, v in sizes.items())
        lines.append(f'the same text by compressors, bits per byte: {both}')
    lines.append(f'picture        {directory / "loss.png"}')
    return '\n'.join(lines)


def print_samples(speaker: Speaker, prompts: Sequence[str]) -> None:
    """Prints what the model says to each of the config's prompts."""
    if not prompts:
        return
    try:
        answers = respond(speaker, prompts)
    except UserError as error:  # such as a character that this text lacks: no reason to fail
        print(f'no samples: config.sample.prompts: {error}')
        return
    continues = speaker.objective.SHAPE == 'decoder' and speaker.objective.HEAD == 'tokens'
    arrow = '' if continues and speaker.objective.kind != 'chat' else ' -> '
    for prompt, answer in zip(prompts, answers):
        print(f'\n--- sample\n{prompt}{arrow}{answer}')
