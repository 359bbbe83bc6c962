"""One comparison in a process of its own: the workload is made, arms are built, timed and checked, and the numbers printed as JSON.

A process each, because an allocator that was tuned or has grown would touch what comes after. `time` times several arms interleaved;
`memory` runs one arm alone and reports its peak memory and the products that torch counts.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import ROOT
from benchmarks.workload import Data, Shape, Workload, synthetic

TUNED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc keeps freed memory, so that temporaries are not page-faulted anew in every step."""
MALLOCS: Mapping[str, Mapping[str, str]] = {"default": {}, "tuned": TUNED}
STEPS_FOR_MEMORY = 2
TINY = Shape(16, 128, 32)
MIB = 1 << 20


@dataclass(frozen=True)
class Task:
    """What one process does."""

    mode: str
    """time, memory, or prepare: harvest and train what real data need, and keep it."""
    shape: str
    data: Data
    l0: int
    arms: Sequence[Sequence[str]]
    """(library, variant) each."""
    runs: int = 5
    real_rows: int = 65_536
    real_steps: int = 300


def run(task: Task, malloc: str) -> list[dict[str, Any]]:
    """Do a task in a new process under a setting of the allocator. Raises RuntimeError with the end of what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in TUNED} | MALLOCS[malloc]
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(task)), str(answer)]
        heard = None if task.mode == "prepare" else subprocess.PIPE
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=heard, text=True, check=False
        )
        if done.returncode or not answer.exists():
            raise RuntimeError(f"{task.mode} {task.shape} {task.data} failed:\n{(done.stderr or '')[-2000:]}")
        return json.loads(answer.read_text(encoding="utf-8"))


def workload(task: Task) -> Workload:
    """Rows and weights of a task."""
    shape = Shape.parse(task.shape)
    if task.data == "synthetic":
        return synthetic(shape, task.l0)
    from benchmarks import real

    return real.workload(shape, task.l0, real.Amount(task.real_rows, task.real_steps))


def prepare(task: Task) -> list[dict[str, Any]]:
    """Make the workload once, so that what it needs is in the cache and no measuring process trains anything."""
    workload(task)
    return []


def measure_time(task: Task) -> list[dict[str, Any]]:
    """Seconds of one step of each arm, run by run, and its L0 afterwards. Raises RuntimeError when an arm did not train."""
    from benchmarks import libraries
    from benchmarks.timing import interleaved

    given = workload(task)
    arms = {(library, variant): libraries.build((library, variant), given) for library, variant in task.arms}
    before = {name: fingerprints(arm) for name, arm in arms.items()}
    labelled = {" ".join(name): arm.turn for name, arm in arms.items()}
    timings = interleaved(labelled, task.runs)
    for name, arm in arms.items():
        check_moved(" ".join(name), before[name], fingerprints(arm))
    return [
        {
            "library": name[0],
            "variant": name[1],
            "l0": arm.l0(),
            "seconds": timings[" ".join(name)].each(arm.steps).seconds,
        }
        for name, arm in arms.items()
    ]


def fingerprints(arm) -> list[list[float]]:
    """A few thousand values of each parameter, by which it can be seen that it moved."""
    flat = [parameter.detach().flatten() for parameter in arm.parameters()]
    return [values[:: 1 + len(values) // 5000].tolist() for values in flat]


def check_moved(name: str, before: list[list[float]], after: list[list[float]]) -> None:
    """Raises RuntimeError when a parameter is what it was, or not finite."""
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new or any(value != value for value in new):
            raise RuntimeError(f"{name}: parameter {place} did not move, or is not finite")


def measure_memory(task: Task) -> list[dict[str, Any]]:
    """Growth of the peak of resident memory over what is resident once rows and weights are there, and products of a step.

    A tiny arm makes a turn first, so that the library's code, its compiled kernels and the buffers of products are not counted.
    """
    import torch

    from benchmarks import libraries

    given = workload(task)
    ((library, variant),) = task.arms
    libraries.build((library, variant), synthetic(TINY, 8)).turn()
    torch.mm(given.rows[:16], given.start.encoder.T)
    _ = given.top_k_bias
    give_back()
    before = resident("VmRSS")
    reset_peak()
    arm = libraries.build((library, variant), given)
    for _ in range(-(-STEPS_FOR_MEMORY // arm.steps)):
        arm.turn()
    peak = resident("VmHWM")
    products = matmul_units(library, variant, arm, given)
    return [{"library": library, "variant": variant, "peak_mib": (peak - before) / MIB, "matmul_units": products}]


def matmul_units(library: str, variant: str, arm, given: Workload) -> float:
    """FLOP of torch's products in one step, in encoder products (2 B d m); counted by hand for assay, whose kernels torch can't see."""
    if library == "assay":
        from benchmarks.libraries.ours import counted_products

        return counted_products(variant, arm.l0(), given.shape.width)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        arm.turn()
    shape = given.shape
    return counter.get_total_flops() / arm.steps / (2 * shape.batch * shape.d * shape.width)


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (most so far) of this process in bytes, from Linux; elsewhere the most so far for both."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def give_back() -> None:
    """Return freed memory to the system, however the allocator is set, so that no arm is given any for nothing."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Let the peak begin again at what is resident now, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="a Task as JSON")
    parser.add_argument("answer", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    task = Task(**json.loads(arguments.task))
    measured = {"time": measure_time, "memory": measure_memory, "prepare": prepare}[task.mode](task)
    arguments.answer.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
