"""One training step of every library and variant, in encoder products, with peak memory: results/step.json.

For each setting of the allocator, kind of data and shape, arms of one kind (gated, relu, ...) are timed together in one process, round
robin with the encoder product; a row's units are against the product of its own group. Peak memory is measured in a process a row. What
a step covers is said in each file of libraries/.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import results, worker
from benchmarks.libraries import KINDS, MODULES, PRODUCT, offered
from benchmarks.results import RESULTS, Row, say
from benchmarks.timing import Timing
from benchmarks.workload import Data, Shape

SHAPES = ("576x8192x2048", "576x16384x2048", "576x8192x4096", "768x24576x4096")
REAL_WIDTH = 576
L0 = 60
KEY = ("library", "variant", "d", "width", "batch", "data", "malloc")
FIELDS = (*KEY, "l0", "median_ms", "low_ms", "high_ms", "units", "matmul_units", "peak_mib", "runs")


@dataclass(frozen=True)
class Settings:
    """What is measured; the defaults are what the page shows."""

    shapes: Sequence[str] = SHAPES
    data: Sequence[Data] = ("synthetic", "real")
    mallocs: Sequence[str] = tuple(worker.MALLOCS)
    libraries: Sequence[str] = tuple(MODULES)
    kinds: Sequence[str] = KINDS
    runs: int = 5
    l0: int = L0
    memory: bool = True
    together: bool = False
    """All kinds in one process: quicker to start, takes more memory."""
    real_rows: int = 65_536
    real_steps: int = 300

    def tasks(self) -> Iterator[tuple[str, worker.Task]]:
        """(malloc, one group of arms) in the order of measuring."""
        groups = list(offered(self.libraries, self.kinds).values())
        if self.together:
            groups = [list(dict.fromkeys(name for group in groups for name in group))]
        for shape in self.shapes:
            for data in self.data:
                if data == "real" and Shape.parse(shape).d != REAL_WIDTH:
                    continue
                task = worker.Task(
                    "time", shape, data, self.l0, (), self.runs, real_rows=self.real_rows, real_steps=self.real_steps
                )
                for malloc in self.mallocs:
                    yield from ((malloc, replace(task, arms=group)) for group in groups)


def measure(settings: Settings, folder: Path, meta: dict[str, Any]) -> None:
    """Measure and save, group by group. A group that fails is said and left out."""
    products: dict[tuple[str, ...], Timing] = {}
    prepared: set[str] = set()
    for malloc, task in settings.tasks():
        if task.data == "real" and task.shape not in prepared:
            worker.run(replace(task, mode="prepare", arms=()), "default")
            prepared.add(task.shape)
        say(f"{task.shape} {task.data} {malloc}: {', '.join(' '.join(name) for name in task.arms)}")
        try:
            timed = worker.run(task, malloc)
            memory = measure_memory(task, malloc) if settings.memory else remembered(folder, task, malloc)
        except RuntimeError as error:
            say(str(error))
            continue
        place = (task.shape, task.data, malloc)
        unit = Timing(tuple(timed[0]["seconds"]))
        products[place] = products.get(place, Timing(())) + unit
        timed[0]["seconds"] = products[place].seconds
        rows = [row(task, malloc, arm, unit.median, memory) for arm in timed]
        for line in rows:
            say(
                f"  {line['library']} {line['variant']}: {line['median_ms']:.1f} ms, {line['units']:.2f} units, L0 {line['l0']:.1f}"
            )
        results.save(folder / "step.json", rows, KEY, meta)


def measure_memory(task: worker.Task, malloc: str) -> dict[tuple[str, str], Row]:
    """Peak memory and counted products of each arm, a process each."""
    measured = [worker.run(replace(task, mode="memory", arms=[name]), malloc)[0] for name in task.arms]
    return {(row["library"], row["variant"]): row for row in measured}


def remembered(folder: Path, task: worker.Task, malloc: str) -> dict[tuple[str, str], Row]:
    """What an earlier run wrote about memory and products, so that timing again alone doesn't lose it."""
    rows = results.read(folder / "step.json")["rows"]
    shape = Shape.parse(task.shape)
    place = (shape.d, shape.width, shape.batch, task.data, malloc)
    same = [row for row in rows if tuple(row[part] for part in KEY[2:]) == place]
    return {(row["library"], row["variant"]): row for row in same}


def row(task: worker.Task, malloc: str, arm: Row, unit: float, memory: dict[tuple[str, str], Row]) -> Row:
    """The row of one arm; the encoder product's units are 1 by definition."""
    shape, name = Shape.parse(task.shape), (arm["library"], arm["variant"])
    milliseconds = [1000 * second for second in arm["seconds"]]
    beside = memory.get(name, {"peak_mib": None, "matmul_units": None})
    values = {
        "library": name[0],
        "variant": name[1],
        "d": shape.d,
        "width": shape.width,
        "batch": shape.batch,
        "data": task.data,
        "malloc": malloc,
        "l0": round(arm["l0"], 1),
        "median_ms": round(median(milliseconds), 3),
        "low_ms": round(min(milliseconds), 3),
        "high_ms": round(max(milliseconds), 3),
        "units": 1.0 if name == PRODUCT else round(median(arm["seconds"]) / unit, 3),
        "matmul_units": beside["matmul_units"] and round(beside["matmul_units"], 3),
        "peak_mib": beside["peak_mib"] and round(beside["peak_mib"], 1),
        "runs": len(milliseconds),
    }
    return {field: values[field] for field in FIELDS}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__)
    made.add_argument("--shape", nargs="+", default=SHAPES, help="d x width x batch, for example 576x16384x2048")
    made.add_argument("--data", nargs="+", default=("synthetic", "real"), choices=("synthetic", "real"))
    made.add_argument("--malloc", nargs="+", default=tuple(worker.MALLOCS), choices=tuple(worker.MALLOCS))
    made.add_argument("--libraries", nargs="+", default=tuple(MODULES), choices=tuple(MODULES))
    made.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    made.add_argument("--runs", type=int, default=5, help="rounds that are timed, after one that is not")
    made.add_argument("--no-memory", action="store_true", help="leave out peak memory and counted products")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    import sys

    given = parser().parse_args(arguments)
    settings = Settings(
        shapes=given.shape,
        data=given.data,
        mallocs=given.malloc,
        libraries=given.libraries,
        kinds=given.kinds,
        runs=given.runs,
        memory=not given.no_memory,
    )
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    measure(settings, given.results, results.describe("benchmarks.step", typed))


if __name__ == "__main__":
    main()
