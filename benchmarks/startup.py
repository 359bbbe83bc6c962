"""How long one waits before anything happens: results/startup.json.

`import assay`, the first use of it, and `assay --help`, in processes of their own, files in the system's cache; and the first training
step beside the fifth, with a cache folder that holds no compiled kernel and again with the one that this run filled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import results
from benchmarks.results import RESULTS, ROOT, Row, say
from benchmarks.timing import interleaved

KEY = ("what",)
CACHE = "ASSAY_CACHE"
"""The environment variable that names the folder in which compiled kernels are kept too."""
STEPS = 5


def commands(runs: int) -> list[Row]:
    """Seconds of an interpreter that does nothing, of one that imports assay, of one that has what training needs, and of the help.

    `import assay` alone loads names only; the first use of one loads what is behind it, PyTorch for the most part.
    """
    python = sys.executable
    lines = {
        "python": [python, "-c", "pass"],
        "import assay": [python, "-c", "import assay"],
        "assay.train": [python, "-c", "import assay; assay.train"],
        "assay --help": [python, "-m", "assay", "--help"],
    }
    timed = interleaved({name: _runner(line) for name, line in lines.items()}, runs)
    return [
        {
            "what": name,
            "seconds": round(timing.median, 4),
            "low": round(timing.low, 4),
            "high": round(timing.high, 4),
            "runs": runs,
        }
        for name, timing in timed.items()
    ]


def first_step(shape: tuple[int, int, int], runs: int) -> list[Row]:
    """Seconds of the first and the fifth step of a Gated dictionary in a new process, medians over processes."""
    seconds: dict[str, list[list[float]]] = {"empty": [], "filled": []}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            for cache in seconds:
                seconds[cache].append(_steps(shape, {CACHE: folder}))
    return [
        {
            "what": f"first step, {cache} kernel cache",
            "d": shape[0],
            "width": shape[1],
            "batch": shape[2],
            "seconds": round(median(steps[0] for steps in taken), 4),
            "fifth": round(median(steps[STEPS - 1] for steps in taken), 4),
            "runs": runs,
        }
        for cache, taken in seconds.items()
    ]


def train_a_little(shape: tuple[int, int, int]) -> list[float]:
    """Seconds of each of five steps in this process, by the public door; fitting to the data comes before."""
    import assay
    from benchmarks.libraries import LEARNING_RATE, ours
    from benchmarks.workload import Shape, synthetic

    given = synthetic(Shape(*shape), min(60, shape[1] // 8))
    dictionary = ours.dictionary("gated", given, k=1)
    config = assay.TrainConfig(steps=STEPS + 1, learning_rate=LEARNING_RATE, log_every=1)
    training = assay.train({"gated": dictionary}, assay.ActivationStore.of(given.rows, batch_size=shape[2]), config)
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        next(training)
        seconds.append(time.perf_counter() - began)
    return seconds


def measure(shape: tuple[int, int, int], runs: int, folder: Path, meta: dict[str, Any]) -> None:
    """Both, saved."""
    rows = commands(runs) + first_step(shape, min(runs, 3))
    for row in rows:
        say(str(row))
    results.save(folder / "startup.json", rows, KEY, meta)


def _runner(line: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(line, cwd=ROOT, check=True, capture_output=True)


def _steps(shape: tuple[int, int, int], environment: Mapping[str, str]) -> list[float]:
    line = [sys.executable, "-m", "benchmarks.startup", "--train", json.dumps(shape)]
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--train", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.train:
        print(json.dumps(train_a_little(tuple(given.train))))
        return
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    measure((576, 16_384, 2048), given.runs, given.results, results.describe("benchmarks.startup", typed))


if __name__ == "__main__":
    main()
