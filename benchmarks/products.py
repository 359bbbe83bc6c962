"""The encoder product x W^T by every BLAS at hand, and by our kernel, which selects as well: results/products.json.

    torch.mm        what PyTorch brings (MKL on x86): with a fresh output, a reused one, in tiles of latents and in tiles of rows
    oneDNN          `torch.ops.mkldnn._linear_pointwise`, the encoder as it lies and reordered beforehand; always a fresh output
    numpy, scipy    the OpenBLAS of their wheels, reused output; also with its guess of the processor overruled
    assay           `ops.kernels.outside`: packs, multiplies, compares and returns CSR; also compiled for AVX2 alone

Products take turns with torch.mm with a fresh output, the unit of their process, with pauses in which the threads of the last one go to
sleep. Synthetic rows, random weights, the allocator as it comes, each library's own number of threads (its default).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import results
from benchmarks.crossover import TRIES, calmly
from benchmarks.results import RESULTS, ROOT, Row, say
from benchmarks.timing import Timing, interleaved
from benchmarks.workload import Shape, Workload, synthetic

KEY = ("product", "setting", "d", "width", "batch")
SHAPES = ("576x8192x2048", "576x16384x2048", "576x8192x4096", "768x24576x4096")
L0 = 60
TILE = 512
"""Latents, or rows, of a tile."""
PAUSE = 0.2
"""Seconds; OpenBLAS and OpenMP threads wait actively for a while after their work."""
UNIT = "torch.mm"
CORES = "OPENBLAS_CORETYPE"
AVX2 = "AVX2"
SETTINGS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "": (
        ("torch.mm, reused output", "torch.mm, tiles of latents", "torch.mm, tiles of rows", "oneDNN", "oneDNN, reordered", "assay"),
        ("numpy",),
        ("scipy",),
    ),
    f"{CORES}=HASWELL": (("numpy",), ("scipy",)),
    f"{CORES}=SKYLAKEX": (("numpy",), ("scipy",)),
    AVX2: (("assay",),),
}  # fmt: skip
"""What is measured under which setting, in a process each, beside the unit. Threads of one OpenBLAS disturb those of another."""
NARROW = """
from llvmlite import binding
features = binding.get_host_cpu_features()
features.update((name, False) for name in features if name.startswith(("avx512", "avx10")))
binding.get_host_cpu_features = lambda: features
from benchmarks.products import main
main()
"""
"""A program in which LLVM takes the processor for one without AVX-512, before anything is compiled."""

Task = Callable[[], object]


@dataclass(frozen=True)
class Point:
    """What one process measures."""

    shape: str
    setting: str
    products: Sequence[str]
    runs: int = 5
    pause: float = PAUSE


def tasks(names: Sequence[str], given: Workload) -> dict[str, Task]:
    """Products by name; one whose library is not installed is said and left out."""
    make = {"torch.mm": by_torch, "oneDNN": by_onednn, "numpy": by_numpy, "scipy": by_scipy, "assay": by_assay}
    x, encoder = given.rows[: given.shape.batch].contiguous(), given.start.encoder
    made: dict[str, Task] = {}
    for name in names:
        library = name.partition(",")[0]
        if library == "scipy" and find_spec("scipy") is None:
            say("scipy is not installed here: left out")
        elif library == "oneDNN" and not torch.backends.mkldnn.is_available():
            say("PyTorch comes without oneDNN here: left out")
        else:
            made[name] = make[library](name.partition(", ")[2], x, encoder, given)
    return made


def by_torch(how: str, x: Tensor, encoder: Tensor, given: Workload) -> Task:
    """PyTorch's own matrix product."""
    if how == "":
        return lambda: torch.mm(x, encoder.T)
    if how == "reused output":
        out = torch.empty(len(x), len(encoder))
        return lambda: torch.mm(x, encoder.T, out=out)
    cut, whole = (encoder, x) if how == "tiles of latents" else (x, encoder)
    buffer = torch.empty(TILE * len(whole))

    def tiled() -> None:
        for part in cut.split(TILE):
            left, right = (whole, part) if cut is encoder else (part, whole)
            torch.mm(left, right.T, out=buffer[: len(left) * len(right)].view(len(left), len(right)))

    return tiled


def by_onednn(how: str, x: Tensor, encoder: Tensor, given: Workload) -> Task:
    """The operator that torch.compile calls for linear layers."""
    if how == "reordered":
        encoder = torch.ops.mkldnn._reorder_linear_weight(encoder, len(x))
    return lambda: torch.ops.mkldnn._linear_pointwise(x, encoder, None, "none", [], "")


def by_numpy(how: str, x: Tensor, encoder: Tensor, given: Workload) -> Task:
    out, left, right = np.empty((len(x), len(encoder)), np.float32), x.numpy(), encoder.numpy().T
    return lambda: np.dot(left, right, out=out)


def by_scipy(how: str, x: Tensor, encoder: Tensor, given: Workload) -> Task:
    """BLAS stores by columns: W x^T is asked for, which is x W^T by rows, so that nothing is copied."""
    from scipy.linalg.blas import sgemm

    out, left, right = np.empty((len(x), len(encoder)), np.float32).T, encoder.numpy().T, x.numpy().T
    return lambda: sgemm(1.0, left, right, trans_a=True, beta=0.0, c=out, overwrite_c=True)


def by_assay(how: str, x: Tensor, encoder: Tensor, given: Workload) -> Task:
    """The product, kept where the gates are open."""
    from assay.ops import kernels

    high, limit = -given.start.gate_bias, len(x) * len(encoder) // 5
    return lambda: kernels.outside(x, given.start.decoder_bias, encoder, high, torch.full_like(high, -torch.inf), limit)


def time_point(point: Point) -> list[Row]:
    """Rows of one process: the unit first."""
    given = synthetic(Shape.parse(point.shape), L0, batches=1)
    made = tasks((UNIT, *point.products), given)
    turns = dict(
        chain.from_iterable(
            ((f"rest {name}", lambda: time.sleep(point.pause)), (name, task)) for name, task in made.items()
        )
    )
    with torch.no_grad():
        timed = interleaved(turns, point.runs)
    return [row(point, name, timed[name], timed[UNIT]) for name in made]


def row(point: Point, product: str, timing: Timing, unit: Timing) -> Row:
    """One product at one shape."""
    shape = Shape.parse(point.shape)
    return {
        "product": product,
        "setting": point.setting,
        "d": shape.d,
        "width": shape.width,
        "batch": shape.batch,
        "median_ms": round(1000 * timing.median, 3),
        "low_ms": round(1000 * timing.low, 3),
        "high_ms": round(1000 * timing.high, 3),
        "units": round(timing.median / unit.median, 3),
        "gflops": round(2e-9 * shape.d * shape.width * shape.batch / timing.median, 1),
        "threads": torch.get_num_threads(),
        "code": code(product),
        "runs": len(timing.seconds),
    }


def code(product: str) -> str:
    """For which processor the library's code is, where it says so: OpenBLAS its core, ours its lanes."""
    library = product.partition(",")[0]
    if library == "assay":
        from assay.ops.kernels.geometry import LANES

        return f"{LANES} lanes"
    if library in ("numpy", "scipy"):
        return openblas_core(library)
    return ""


def openblas_core(package: str) -> str:
    """What the OpenBLAS in a wheel took the processor for; empty where that wheel brings another."""
    for path in (Path(find_spec(package).origin).parent.parent / f"{package}.libs").glob("*openblas*"):
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename"):
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = ctypes.c_char_p
                return function().decode()
    return ""


def measure(
    shapes: Sequence[str], runs: int, folder: Path, meta: dict[str, Any], pause: float = PAUSE, tries: int = TRIES
) -> None:
    """Measure and save process by process."""
    for shape in shapes:
        points = [Point(shape, name, group, runs, pause) for name, groups in SETTINGS.items() for group in groups]
        for point, rows in calmly(points, run, lambda rows: rows[0]["median_ms"], tries):
            for one in rows:
                took = f"{one['median_ms']:.1f} ms, {one['units']:.2f} units"
                say(f"{shape} {point.setting} {one['product']} {one['code']}: {took}")
            kept = rows if rows[1]["product"].startswith(UNIT) else rows[1:]
            results.save(folder / "products.json", kept, KEY, meta)


def run(point: Point) -> list[Row]:
    """One setting at one shape in a process of its own. Raises RuntimeError."""
    name, _, value = point.setting.partition("=")
    clean = {key: text for key, text in os.environ.items() if not key.startswith("OPENBLAS_")}
    environment = clean | ({name: value} if value else {})
    program = ["-c", NARROW] if point.setting == AVX2 else ["-m", "benchmarks.products"]
    line = [sys.executable, *program, "--point", json.dumps(asdict(point))]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr if not done.returncode else "")
    if done.returncode:
        raise RuntimeError(f"{point.shape} {point.setting} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.products", description=__doc__)
    parser.add_argument("--shape", nargs="+", default=SHAPES, help="d x width x batch, for example 576x16384x2048")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.point:
        print(json.dumps(time_point(Point(**given.point))))
        return
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    measure(given.shape, given.runs, given.results, results.describe("benchmarks.products", typed))


if __name__ == "__main__":
    main()
