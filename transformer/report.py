"""What the training script says: when, how fast, and at the end."""

import contextlib
import gzip
import lzma
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformer import hardware, terminal
from transformer.errors import UserError
from transformer.experiment import Experiment
from transformer.respond import Speaker, respond

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

    Args:
      tokens: of one step, padding included.
      flops: of one step, `summary.flops_per_row`.
      devices: how many share the work.
    """

    def __init__(self, tokens: int, flops: float, devices: int):
        self._tokens, self._flops, self._devices = tokens, flops, devices
        self._last: tuple[int, float] | None = None
        self._paused = self._waited = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count as training time."""
        begin = time.monotonic()
        yield
        self._paused += time.monotonic() - begin

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """What happens inside counts as waiting for data."""
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
        return values


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
    arrow = (
        ''
        if speaker.objective.HEAD == 'tokens' and speaker.objective.SHAPE == 'decoder'
        else ' -> '
    )
    for prompt, answer in zip(prompts, answers):
        print(f'\n--- sample\n{prompt}{arrow}{answer}')
