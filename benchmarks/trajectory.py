"""Whether training is the same by the fast path and by the dense reference: results/trajectory.json.

Gated dictionaries on real activations, three seeds (of the first atoms and of the order of the data), each trained once as assay does by
itself and once with the dense reference forced, from the same atoms in the same order. Rounding differs, so trajectories part; what
counts is where they end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results import RESULTS, ROOT, Row, say

KEY = ("path", "seed", "width", "steps")
PATHS = ("default", "dense")
METRICS = ("l0", "explained_variance", "loss_recovered_zero", "loss_recovered_mean")


@dataclass(frozen=True)
class Settings:
    """One training; the defaults are what the page shows."""

    width: int = 2304
    steps: int = 400
    batch: int = 2048
    rows: int = 65_536
    evaluated: int = 4096


def forced(path: str) -> dict[str, str]:
    """The environment in which assay computes by a path: its own choice, or the dense reference."""
    return {} if path == "default" else {"ASSAY_OPS": path}


def measure(settings: Settings, seeds: Sequence[int], folder: Path, meta: dict[str, Any]) -> None:
    """Train in a process each, and save seed by seed; says when two paths cannot be told apart, since rounding should differ."""
    for seed in seeds:
        rows = [run(settings, seed, path) for path in PATHS]
        for row in rows:
            say(str(row))
        if all(rows[0][name] == rows[1][name] for name in METRICS):
            say(
                f"seed {seed}: both ended with the same bits; was the path forced, or every batch too dense for the fast one?"
            )
        results.save(folder / "trajectory.json", rows, KEY, meta)


def run(settings: Settings, seed: int, path: str) -> Row:
    """One training and evaluation in a process of its own."""
    task = json.dumps({"seed": seed, **asdict(settings)})
    line = [sys.executable, "-m", "benchmarks.trajectory", "--train", task]
    environment = {name: value for name, value in os.environ.items() if name != "ASSAY_OPS"} | forced(path)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training by the path {path} failed:\n{done.stderr[-2000:]}")
    return {"path": path, "seed": seed, **asdict(settings), **json.loads(done.stdout.splitlines()[-1])}


def train(settings: Settings, seed: int) -> Row:
    """Train in this process, and evaluate inside the model on held-out text."""
    import assay
    from benchmarks import real

    store = real.activations(settings.rows, batch_size=settings.batch, seed=seed)
    dictionary = real.gated(store.width, settings.width, seed=seed)
    began = time.perf_counter()
    for _ in assay.train({"gated": dictionary}, store, assay.TrainConfig(steps=settings.steps, learning_rate=1e-3)):
        pass
    seconds = time.perf_counter() - began
    lm = real.language_model()
    evaluation = assay.evaluate_model(
        {"gated": dictionary},
        lm.model,
        assay.locate(lm.model, real.SITE),
        real.text("held_out"),
        mean=store.mean(),
        tokens=settings.evaluated,
    )["gated"]
    return {**{name: evaluation.values[name] for name in METRICS}, "train_seconds": round(seconds, 2)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trajectory", description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--train", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.train:
        seed = given.train.pop("seed")
        print(json.dumps(train(Settings(**given.train), seed)))
        return
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    measure(Settings(), given.seeds, given.results, results.describe("benchmarks.trajectory", typed))


if __name__ == "__main__":
    main()
