"""What one call may take: seconds, and memory beyond what the process had. Used around every example, so both are cheap to ask."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FREE = 64 << 20
"""Bytes of memory that a call may take whatever its input is."""
PATIENCE = 30
STATUS, SIZE, CLEAR = (Path("/proc/self", name) for name in ("status", "statm", "clear_refs"))


class Hang(BaseException):
    """A call took too long. No `except Exception` on the way swallows it."""


class Bloat(AssertionError):
    """A call took too much memory."""


@contextmanager
def seconds(most: float) -> Iterator[None]:
    """Raise Hang in the main thread once a call has worked so long, or waited `PATIENCE` times as long.

    Work is processor time, so that a busy machine makes no hangs. C code is stopped when it next returns to Python.
    """
    worked, begun = time.process_time(), time.monotonic()

    def look(*_: Any) -> None:
        left = min(most - time.process_time() + worked, PATIENCE * most - time.monotonic() + begun)
        if left <= 0:
            raise Hang(f"{time.process_time() - worked:.1f} s of work in {time.monotonic() - begun:.1f} s")
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.01))

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, most)
    try:
        yield
        look()  # a Hang that was raised in a destructor was lost
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def address_space(most: int) -> Iterator[None]:
    """Give the process so many bytes more and no others: what asks for them fails, before the machine kills it. Linux alone."""
    if not SIZE.exists():
        yield
        return
    taken = int(SIZE.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def memory(most: int) -> Iterator[None]:
    """Raise Bloat when resident memory rose by more than `most` bytes at its peak. Asks nothing where Linux is not."""
    if not CLEAR.exists():
        yield
        return
    CLEAR.write_text("5")  # the peak is now what is resident
    before = peak()
    yield
    if (taken := peak() - before) > most:
        raise Bloat(f"{taken:,} bytes of memory, at most {most:,} allowed")


def peak() -> int:
    """Bytes resident at most, since the peak was last cleared."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
