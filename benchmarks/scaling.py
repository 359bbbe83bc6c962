"""How our Gated step grows with the number of latents and with the number of active ones: results/scaling.json.

Synthetic rows, d = 576, batches of 2,048; each point in a process of its own, interleaved with its own encoder product.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import libraries, results, worker
from benchmarks.results import RESULTS, Row, say
from benchmarks.workload import Shape

KEY = ("sweep", "width", "l0_asked", "d", "batch", "malloc")
ARMS = (libraries.PRODUCT, ("assay", "gated"))


@dataclass(frozen=True)
class Settings:
    """The points; the defaults are what the page shows."""

    d: int = 576
    batch: int = 2048
    widths: Sequence[int] = (4096, 8192, 16384, 32768, 65536)
    l0: int = 60
    width: int = 16384
    l0s: Sequence[int] = (8, 16, 32, 64, 128, 256, 512)
    mallocs: Sequence[str] = ("tuned",)
    runs: int = 5

    def tasks(self) -> Iterator[tuple[str, str, worker.Task]]:
        """(sweep, malloc, task)."""
        points = [("width", width, self.l0) for width in self.widths] + [("l0", self.width, l0) for l0 in self.l0s]
        for malloc in self.mallocs:
            for sweep, width, l0 in points:
                shape = str(Shape(self.d, width, self.batch))
                yield sweep, malloc, worker.Task("time", shape, "synthetic", l0, ARMS, self.runs)


def measure(settings: Settings, folder: Path, meta: dict[str, Any]) -> None:
    """Measure and save point by point."""
    for sweep, malloc, task in settings.tasks():
        try:
            timed = worker.run(task, malloc)
        except RuntimeError as error:
            say(str(error))
            continue
        line = row(sweep, malloc, task, timed)
        say(f"{sweep}: width {line['width']}, L0 {line['l0']}: {line['median_ms']:.1f} ms, {line['units']:.2f} units")
        results.save(folder / "scaling.json", [line], KEY, meta)


def row(sweep: str, malloc: str, task: worker.Task, timed: Sequence[Row]) -> Row:
    """One point."""
    shape = Shape.parse(task.shape)
    product, gated = (median(arm["seconds"]) for arm in timed)
    return {
        "sweep": sweep,
        "d": shape.d,
        "width": shape.width,
        "batch": shape.batch,
        "malloc": malloc,
        "l0_asked": task.l0,
        "l0": round(timed[1]["l0"], 1),
        "median_ms": round(1000 * gated, 3),
        "low_ms": round(1000 * min(timed[1]["seconds"]), 3),
        "high_ms": round(1000 * max(timed[1]["seconds"]), 3),
        "product_ms": round(1000 * product, 3),
        "units": round(gated / product, 3),
        "runs": len(timed[1]["seconds"]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--widths", nargs="*", type=int, default=Settings.widths)
    parser.add_argument("--l0s", nargs="*", type=int, default=Settings.l0s)
    parser.add_argument("--malloc", nargs="+", default=Settings.mallocs, choices=tuple(worker.MALLOCS))
    parser.add_argument("--runs", type=int, default=Settings.runs)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    settings = Settings(widths=given.widths, l0s=given.l0s, mallocs=given.malloc, runs=given.runs)
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    measure(settings, given.results, results.describe("benchmarks.scaling", typed))


if __name__ == "__main__":
    main()
