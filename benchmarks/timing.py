"""Interleaved timing: A B C A B C ..., so that a machine that slows down slows everything that is compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Timing:
    """Seconds of one task, run by run."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)

    @property
    def high(self) -> float:
        return max(self.seconds)

    def each(self, parts: int) -> Timing:
        """The time of one of `parts` equal parts of the task."""
        return Timing(tuple(second / parts for second in self.seconds))

    def __add__(self, other: Timing) -> Timing:
        """The runs of both."""
        return Timing(self.seconds + other.seconds)


def interleaved(
    tasks: Mapping[str, Callable[[], object]],
    runs: int,
    *,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Wall time of each task in rounds that run every task once; the first `warmup` rounds don't count."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(warmup + runs):
        for name, task in tasks.items():
            began = clock()
            task()
            took = clock() - began
            if turn >= warmup:
                seconds[name].append(took)
    return {name: Timing(tuple(taken)) for name, taken in seconds.items()}
