"""Progress on standard error: a live line on a terminal, one plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console

from assay.ops import kernels
from assay.training import Progress

PLAIN_EVERY = 10.0
"""Seconds between lines when standard error is not a terminal."""


def note(line: str) -> None:
    """One line of narration."""
    print(line, file=sys.stderr, flush=True)


def prepare_kernels() -> None:
    """Compile what this machine's cache lacks, and say how long it took."""
    seconds = kernels.prepare()
    if seconds > 1:
        note(f"compiled kernels for this processor in {seconds:.1f} s; they are kept in the cache")


class Line:
    """A line that is rewritten in place on a terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.status = self.console.status("") if self.console.is_terminal else None
        self.printed = 0.0

    def __enter__(self) -> Line:
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.status:
            self.status.stop()

    def show(self, text: str, *, last: bool = False) -> None:
        """Show the text now, or within ten seconds."""
        if self.status and not last:
            self.status.update(text)
        elif last or time.monotonic() - self.printed >= PLAIN_EVERY:
            self.printed = time.monotonic()
            note(text.replace("\n ", ";"))


@contextmanager
def counting(stage: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A counter "done of total" with rate and time left."""
    started = time.perf_counter()
    with Line() as line:

        def count(done: int, total: int) -> None:
            if done:
                rate = done / max(time.perf_counter() - started, 1e-9)
                left = _clock((total - done) / rate)
                line.show(f"{stage}: {done:,}/{total:,} {unit}, {rate:,.0f} {unit}/s, {left} left", last=done >= total)

        yield count


def watch(progress: Iterable[Progress], steps: int) -> None:
    """Follow a training to its end."""
    with Line() as line:
        for now in progress:
            rate = now.rows_read / max(now.seconds, 1e-9)
            left = _clock((steps - now.step) * (now.tokens / now.step) / max(rate, 1e-9))
            arms = "\n  ".join(
                f"{name} loss {_number(arm.loss)} L0 {arm.l0:.1f} EV {_number(arm.explained_variance)} dead {_share(arm.dead)}"
                for name, arm in now.arms.items()
            )
            speed = f"{rate:,.0f} tokens/s, {left} left, waiting for data {now.waiting:.0%}"
            line.show(f"train: step {now.step}/{steps}, {speed}\n  {arms}", last=now.step == steps)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(min(seconds, 359_999)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
