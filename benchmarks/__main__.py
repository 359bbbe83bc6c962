"""Every measurement, one after another, and the page; `--quick` does all of it at toy shapes into a temporary folder."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks import crossover, memory, page, products, results, scaling, screening, startup, step, stream, trajectory
from benchmarks.real import Amount
from benchmarks.results import RESULTS, say


def full(folder: Path) -> None:
    """What `make bench` runs: hours on two cores."""
    arguments = [] if folder == RESULTS else ["--results", str(folder)]
    for part in (step, scaling, stream, startup, trajectory, products, crossover, screening, memory):
        part.main(arguments)
    page.write(page.PAGE, folder)
    page.write_memory(page.MEMORY, folder)
    page.write_readme(page.README, folder)


def quick(folder: Path) -> None:
    """The same code at toy shapes: shows that every library's step runs and trains, and that the page can be made.

    On one thread, since at such shapes threads only wait for each other.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    meta = results.describe("benchmarks", ["--quick"])
    toy = step.Settings(
        shapes=("32x256x64",), data=("synthetic",), mallocs=("tuned",), runs=2, l0=20, memory=False, together=True
    )
    step.measure(toy, folder, meta)
    real = step.Settings(
        shapes=("576x256x64",), data=("real",), mallocs=("default",), kinds=("gated",), libraries=("torch", "assay"),
        runs=2, l0=20, real_rows=2048, real_steps=20,
    )  # fmt: skip
    step.measure(real, folder, meta)
    scaling.measure(scaling.Settings(d=32, batch=64, widths=(256,), l0=20, width=256, l0s=(8,), runs=2), folder, meta)
    few = stream.Settings(
        tokens=512,
        stored_rows=2048,
        evaluated=128,
        arms=2,
        arm_width=256,
        width=256,
        batch=64,
        counts=(1, 2),
        l0=20,
        runs=2,
    )
    stream.measure(few, folder, meta)
    startup.measure((32, 256, 64), 1, folder, meta)
    trajectory.measure(trajectory.Settings(width=256, steps=10, batch=64, rows=2048, evaluated=128), (0,), folder, meta)
    toy_shape = ("32x256x64",)
    products.measure(toy_shape, 1, folder, meta, pause=0.0, tries=1)
    crossover.measure(toy_shape, ("default",), folder, meta, densities=(0.05, 0.3), runs=1, tries=1)
    screens = screening.Settings(
        widths=(256,), batch=64, ks=(144,), zs=(4,), mosts=(8,), l0=20, runs=1, amount=Amount(2048, 20),
        trained=(None, screening.Screen(288, 4)), seeds=(0,), train_width=256, steps=20,
    )  # fmt: skip
    screening.measure(screens, folder, meta)
    memory.measure(memory.QUICK, folder, meta)
    copied = folder / page.PAGE.name
    shutil.copy(page.PAGE, copied)
    page.write(copied, folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy shapes, a temporary folder, a few minutes")
    parser.add_argument("--results", type=Path, help="folder of the JSON files")
    given = parser.parse_args()
    if given.quick:
        folder = given.results or Path(tempfile.mkdtemp(prefix="assay-bench-"))
        quick(folder)
        say(f"toy results, which measure nothing, are in {folder}")
    else:
        full(given.results or RESULTS)


if __name__ == "__main__":
    sys.exit(main())
