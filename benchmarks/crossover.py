"""The density from which tables beat supports: a whole Gated step on each path against the share of latents that are active.

Synthetic rows, random weights, gate biases set for a density; each point in a process of its own, its paths in turn with the encoder
product. Supports are kept at any density here, which assay itself does up to `ops.path.CROSSOVER`: results/crossover.json. A step is the
loss, its gradients and the update, without reading batches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from assay import TrainConfig, ops
from assay.training.trainer import Trainee
from benchmarks import results, worker
from benchmarks.libraries import LEARNING_RATE, ours
from benchmarks.results import RESULTS, ROOT, Row, say
from benchmarks.timing import Timing, interleaved
from benchmarks.workload import Shape, synthetic

KEY = ("path", "density", "d", "width", "batch", "malloc")
SHAPES = ("576x2304x2048", "576x16384x2048", "128x4096x1024")
DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
PATHS = ("kernels", "portable", "dense")
SLOW, TRIES = 1.3, 4
"""A measurement is made again, so often in all, when its encoder product took so many times the least."""
CROSSING = "crossing"
"""What stands in place of the density in the row that says where a path meets the dense one."""
P, T = TypeVar("P"), TypeVar("T")


@dataclass(frozen=True)
class Point:
    """What one process measures."""

    shape: str
    density: float
    runs: int = 5


def time_point(point: Point) -> dict[str, list[float]]:
    """Seconds of a step on each path, run by run, and of the encoder product."""
    shape = Shape.parse(point.shape)
    given = synthetic(shape, max(round(point.density * shape.width), 1), batches=1)
    x = given.rows[: shape.batch].contiguous()

    def product() -> None:
        with torch.no_grad():
            torch.mm(x, given.start.encoder.T)

    tasks: dict[str, Callable[[], object]] = {"product": product}
    for path in PATHS:
        trainee = Trainee(ours.dictionary("gated", given, k=1), TrainConfig(learning_rate=LEARNING_RATE))
        tasks[path] = lambda trainee=trainee, path=path: step(trainee, x, path)
    return {name: list(timing.seconds) for name, timing in interleaved(tasks, point.runs).items()}


def step(trainee: Trainee, x: torch.Tensor, path: ops.path.Path) -> None:
    """One step on one path, whatever the density."""
    with ops.forced(path, crossover=1.0):
        _, result, loss = trainee.loss(x, 1.0)
        trainee.learn(result, loss, LEARNING_RATE)


def crossing(densities: Sequence[float], ours: Sequence[float], dense: Sequence[float]) -> float | None:
    """The density from which the dense path stays cheaper, between two points by a straight line; None when it never is at the last.

    Zero when it is cheaper everywhere.
    """
    over = [one - other for one, other in zip(ours, dense, strict=True)]
    if over[-1] <= 0:
        return None
    last = next((i for i in reversed(range(len(over))) if over[i] <= 0), None)
    if last is None:
        return 0.0
    share = over[last] / (over[last] - over[last + 1])
    return densities[last] + share * (densities[last + 1] - densities[last])


def calmly(
    points: Sequence[P], run: Callable[[P], T], unit: Callable[[T], float], tries: int = TRIES
) -> Iterator[tuple[P, T]]:
    """Each point's measurement; again, if its unit took over `SLOW` times the least of all, as when others used the machine.

    Of several measurements of a point that with the least unit comes last. A point that fails is said and left out.
    """
    units: dict[P, float] = {}
    for _ in range(tries):
        for point in points:
            if point in units and units[point] <= SLOW * min(units.values()):
                continue
            try:
                measured = run(point)
            except RuntimeError as error:
                say(str(error))
                continue
            if unit(measured) < units.get(point, float("inf")):
                units[point] = unit(measured)
                yield point, measured


def rows_of(point: Point, malloc: str, seconds: dict[str, list[float]]) -> list[Row]:
    """A row a path."""
    unit = Timing(tuple(seconds["product"]))
    made = []
    for path in PATHS:
        timing = Timing(tuple(seconds[path]))
        made.append(
            {
                "path": path,
                "density": point.density,
                **asdict(Shape.parse(point.shape)),
                "malloc": malloc,
                "median_ms": round(1000 * timing.median, 3),
                "low_ms": round(1000 * timing.low, 3),
                "high_ms": round(1000 * timing.high, 3),
                "product_ms": round(1000 * unit.median, 3),
                "units": round(timing.median / unit.median, 3),
                "runs": len(timing.seconds),
            }
        )
    return made


def crossings(rows: Sequence[Row], shape: Shape, malloc: str) -> list[Row]:
    """Where the sparse paths meet the dense one, from the milliseconds of the same process."""
    place = {**asdict(shape), "malloc": malloc}
    here = [row for row in rows if row["density"] != CROSSING and all(row[name] == place[name] for name in place)]
    time = {(row["path"], row["density"]): row["median_ms"] for row in here}
    densities = sorted({row["density"] for row in here})
    made = []
    for path in PATHS[:-1]:
        at = crossing(densities, *([time[name, density] for density in densities] for name in (path, "dense")))
        made.append({"path": path, "density": CROSSING, **place, "at": at if at is None else round(at, 3)})
    return made


def measure(
    shapes: Sequence[str], mallocs: Sequence[str], folder: Path, meta: dict[str, Any],
    densities: Sequence[float] = DENSITIES, runs: int = 5, tries: int = TRIES,
) -> None:  # fmt: skip
    """Measure and save point by point; then where the paths cross."""
    where = folder / "crossover.json"
    for shape in shapes:
        for malloc in mallocs:
            points = [Point(shape, density, runs) for density in densities]
            for point, seconds in calmly(
                points, partial(run, malloc=malloc), lambda given: median(given["product"]), tries
            ):
                rows = rows_of(point, malloc, seconds)
                for row in rows:
                    took = f"{row['median_ms']:.1f} ms, {row['units']:.2f} units"
                    say(f"{shape} {malloc} {point.density} {row['path']}: {took}")
                results.save(where, rows, KEY, meta)
            found = crossings(results.read(where)["rows"], Shape.parse(shape), malloc)
            say(str(found))
            results.save(where, found, KEY, meta)


def run(point: Point, malloc: str) -> dict[str, list[float]]:
    """One point in a process of its own. Raises RuntimeError."""
    environment = {name: value for name, value in os.environ.items() if name not in worker.TUNED}
    environment.pop("ASSAY_OPS", None)
    line = [sys.executable, "-m", "benchmarks.crossover", "--point", json.dumps(asdict(point))]
    done = subprocess.run(
        line, cwd=ROOT, env=environment | worker.MALLOCS[malloc], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{point.shape} at density {point.density} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crossover", description=__doc__)
    parser.add_argument("--shape", nargs="+", default=SHAPES, help="d x width x batch, for example 576x16384x2048")
    parser.add_argument("--malloc", nargs="+", default=("default",), choices=tuple(worker.MALLOCS))
    parser.add_argument("--density", nargs="+", type=float, default=DENSITIES)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.point:
        print(json.dumps(time_point(Point(**given.point))))
        return
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    meta = results.describe("benchmarks.crossover", typed)
    measure(given.shape, given.malloc, given.results, meta, given.density, given.runs)


if __name__ == "__main__":
    main()
