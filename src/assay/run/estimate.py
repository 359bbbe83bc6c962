"""What a run will take, said before anything starts: tokens, bytes on disk, memory, time.

Times come from short measurements on this machine: the rate of a float32 product, and one batch through the model when it is here.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from assay.errors import MissingMaterial
from assay.materials import CATALOGUE, is_fetched
from assay.ops import kernels
from assay.run.stages import Workspace
from assay.sites import capture, locate
from assay.training.checkpoint import KEPT

STEP_PRODUCTS, STEP_OPERATIONS = 1.5, 8500
"""A training step in encoder products, and in operations for each number of a batch, at the rate of those products; fitted to the
demo, its dense beginning included (docs/results/demo.json), and to docs/speed.md."""
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Part:
    """What one stage takes."""

    tokens: int
    disk: int
    """Bytes written."""
    memory: int
    """Bytes at the peak."""
    seconds: float | None
    """None where the model must be fetched before it can be timed."""


@dataclass(frozen=True)
class ModelPace:
    """How large a model is and how fast it runs here."""

    width: int
    memory: int
    to_site: float
    """Seconds a token up to the site."""
    to_end: float
    """Seconds a token to the last layer."""


def estimate(workspace: Workspace, *, sweep: bool) -> dict[str, Part]:
    """Each stage's needs by name. Fetches nothing. Raises what a wrong setting raises."""
    run = workspace.run
    pace = _pace(workspace)
    width = pace.width if pace else _known_width(workspace)
    arms = run.arms(width, sweep=sweep)
    rows, batch = run.harvest.tokens, run.batches.size
    latents = sum(arm.width for arm in arms.values())
    parameters = 2 * width * latents
    largest = max(arm.width for arm in arms.values())
    model_memory = pace.memory if pace else 0
    operations = STEP_PRODUCTS * 2 * batch * width * latents + STEP_OPERATIONS * batch * width * len(arms)
    train_seconds = run.train.steps * operations / max(product_rates().values())
    tokens = run.evaluate.tokens
    parts = {
        "harvest": Part(
            rows,
            rows * (width * BYTES[run.harvest.dtype] + 8),
            model_memory + 8 * run.harvest.rows_per_shard * width,
            rows * pace.to_site if pace else None,
        ),
        "train": Part(
            run.train.steps * batch,
            (KEPT + 1) * 8 * parameters + 4 * parameters,
            8 * parameters + 16 * batch * largest + 8 * batch * width,
            train_seconds,
        ),
        "evaluate": Part(
            tokens,
            1 << 20,
            model_memory + 4 * parameters,
            tokens * (pace.to_end + (len(arms) + 2) * (pace.to_end - pace.to_site)) if pace else None,
        ),
    }
    return parts


def say(parts: dict[str, Part], only: tuple[str, ...] = ()) -> None:
    """Print an estimate as a table."""
    print(f"{'stage':<10} {'tokens':>14} {'disk':>10} {'memory':>10} {'time':>10}")
    for name, part in parts.items():
        if not only or name in only:
            clock = "after fetch" if part.seconds is None else _clock(part.seconds)
            print(f"{name:<10} {part.tokens:>14,} {_size(part.disk):>10} {_size(part.memory):>10} {clock:>10}")
    memory = max(part.memory for part in parts.values())
    if memory > available_memory():
        print(
            f"warning: {_size(memory)} of memory wanted, {_size(available_memory())} free: lower batches.size or the widths"
        )


def available_memory() -> int:
    """Bytes of memory that a new process can take."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def product_rates() -> dict[str, float]:
    """Floating-point operations a second of x W^T with encoder shapes, medians of five: PyTorch's BLAS, numpy's, and our kernels.

    Ours chooses entries while it multiplies, so its rate has the choosing in it.
    """
    x, encoder = torch.randn(2048, 576), torch.randn(4096, 576)
    ways: dict[str, Callable[[], object]] = {
        "MKL" if torch.backends.mkl.is_available() else "PyTorch": lambda: torch.mm(x, encoder.T),
        "numpy": lambda: np.matmul(x.numpy(), encoder.numpy().T),
    }
    if kernels.serves(x):
        center, high = torch.zeros(576), torch.full((4096,), 1e9)
        ways["kernels"] = lambda: kernels.outside(x, center, encoder, high, -high, 1)
    operations = 2 * 2048 * 576 * 4096
    return {name: operations / statistics.median(_seconds(way, 6)[1:]) for name, way in ways.items()}


def _pace(workspace: Workspace) -> ModelPace | None:
    name = workspace.run.model.name
    if name in CATALOGUE and not is_fetched(name):
        return None
    model = workspace.language_model.model
    site = locate(model, workspace.run.harvest.site)
    few = workspace.source("train").inputs(0, 4)
    width = capture(model, [site], **few.arguments)[site].shape[-1]
    to_site = min(_seconds(lambda: capture(model, [site], **few.arguments))) / few.keep.numel()
    to_end = min(_seconds(lambda: model(**few.arguments))) / few.keep.numel()
    memory = sum(p.numel() * p.element_size() for p in model.parameters())
    return ModelPace(width, memory, to_site, max(to_site, to_end))


def _seconds(run: Callable[[], object], runs: int = 3) -> list[float]:
    """How long it takes, time after time."""
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(runs):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    return times


def _known_width(workspace: Workspace) -> int:
    material = CATALOGUE[workspace.run.model.name]
    if material.width is None:
        raise MissingMaterial(
            f"{material.name} is not here",
            expected="a model to measure",
            do=f"Run `assay materials {material.name}` first.",
        )
    return material.width


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"
