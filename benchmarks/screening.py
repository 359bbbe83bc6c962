"""A select that multiplies over part of the depth first: what it costs, and what it misses, on real activations: results/screening.json.

Rows, less their mean, and encoder are rotated into the basis of the rows' principal components, the largest first. After k of d
coordinates the rest of a product is about normal, with a deviation of |x_rest| |w_rest| / sqrt(d - k). Only where prefix + z deviations
opens the gate is the product finished; what is missed has a rest larger than that.

Rotating costs d / B of a product for the encoder and d / L for the rows, so a training that screens should live in that basis: both are
timed apart and not in a select's time; norms, packing and compaction are. Selects take turns with the exact one and torch.mm, the unit.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
import xxhash
from jaxtyping import Float
from torch import Tensor

import assay
from assay.codes import CsrSupport, Entries, offsets_of
from assay.ops import kernels
from assay.ops.kernels.compiled import Kernel
from benchmarks import real, results
from benchmarks.results import RESULTS, Row, say
from benchmarks.timing import interleaved
from benchmarks.workload import Shape, Workload

KEY = ("what", "k", "z", "most", "width", "batch", "seed")
FITTED = 32_768
"""Rows whose principal components are the basis; the rows that are encoded come after them."""
NEVER = 1 << 30
"""More candidates than any block has: each is finished by itself."""
AMOUNT = real.Amount()


class Body(Kernel):
    """A kernel whose body is here, not in the package: its cached code is kept under a digest of this file too."""

    def _digest(self) -> str:
        source = Path(__file__).with_name("screening_body.py").read_text(encoding="utf-8")
        return super()._digest() + xxhash.xxh3_64_hexdigest(source.encode())


_SELECT = Body(
    "benchmarks.screening_body",
    "select_screened",
    "f4[:,:,::1], i8, f4[:,::1], f4[:,::1], i8, i8, f4[::1], f4[::1], f4[::1], f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], "
    "i8[:,::1], u1[:,::1], f4[:,::1], u1[:,::1], i4[:,::1], i8[::1], u1[::1], f4[::1], i8[::1], i8[:,::1]",
)


@dataclass(frozen=True)
class Screen:
    """Depth of the prefix, deviations that are allowed for the rest, candidates above which a block is finished whole."""

    k: int
    z: float
    most: int = NEVER


@dataclass(frozen=True)
class Settings:
    """What is measured; the defaults are what the page shows."""

    widths: Sequence[int] = (16_384, 3072)
    batch: int = 2048
    ks: Sequence[int] = (144, 216, 288, 360)
    zs: Sequence[float] = (3, 4)
    mosts: Sequence[int] = (24, 48, NEVER)
    l0: int = 60
    runs: int = 5
    amount: real.Amount = AMOUNT
    trained: Sequence[Screen | None] = (None, Screen(216, 3), Screen(288, 4))
    """Screens to train with; None is the exact select in the same basis."""
    seeds: Sequence[int] = (0, 1, 2)
    train_width: int = 2304
    steps: int = 400


def basis(rows: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
    """Mean and principal components, in columns, the largest first."""
    mean = rows.mean(0)
    centred = rows - mean
    return mean, torch.linalg.eigh((centred.T @ centred).double()).eigenvectors.flip(1).to(rows.dtype).contiguous()


def select(
    x: Float[Tensor, "B D"], encoder: Float[Tensor, "L D"], high: Float[Tensor, " L"], screen: Screen, limit: int
) -> tuple[Entries | None, Tensor]:
    """Products x W^T above `high` among the candidates of a screen; beside them candidates, blocks that have one, blocks finished whole.

    None for the products when there are more than `limit`. With z infinite, exact up to rounding.
    """
    from assay.ops.kernels.geometry import BLOCK, MR, NR, pieces

    panels, blocks, workers, k = pieces(len(encoder), NR), pieces(len(x), BLOCK), torch.get_num_threads(), screen.k
    reach = x[:, k:].norm(dim=1) * (screen.z / math.sqrt(x.shape[1] - k))
    spread = encoder[:, k:].norm(dim=1)
    counts, marks = torch.empty(panels, len(x), dtype=torch.uint8), torch.empty(panels, blocks, dtype=torch.int32)
    starts, taken = torch.empty(panels, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    found, kept = torch.empty(limit, dtype=torch.uint8), torch.empty(limit)
    tally = torch.zeros(workers, 3, dtype=torch.int64)
    length = panels * NR
    _SELECT(
        panels, kernels._packed_rows(x, torch.zeros(x.shape[1])), len(x), x, encoder, k, screen.most,
        kernels._padded(high, length, torch.inf), kernels._padded(spread, length, 0.0), reach,
        torch.empty(workers, x.shape[1], NR), torch.empty(workers, MR, NR), torch.empty(workers, MR, NR),
        torch.empty(workers, MR, dtype=torch.int64), torch.empty(workers, NR * len(x), dtype=torch.uint8),
        torch.empty(workers, NR * len(x)), counts, marks, starts, found, kept, taken, tally,
    )  # fmt: skip
    if int(taken) > limit:
        return None, tally.sum(0)
    totals = torch.empty(len(x), dtype=torch.int64)
    kernels._COUNT_ROWS(blocks, counts, totals)
    offsets = offsets_of(totals)
    latents, products = torch.empty(int(taken), dtype=torch.int64), torch.empty(int(taken))
    cursors = torch.empty(workers, panels, dtype=torch.int64)
    kernels._GATHER_ROWS(blocks, cursors, counts, marks, starts, found, kept, offsets, latents, products)
    return (offsets, latents, products), tally.sum(0)


def cost(width: int, settings: Settings) -> list[Row]:
    """One dictionary's rows: the exact select, both rotations, and every screen with what it misses."""
    given = real.workload(Shape(real.WIDTH, width, settings.batch), settings.l0, settings.amount)
    start, fitted = given.start, given.rows[: min(FITTED, len(given.rows) - settings.batch)]
    mean, components = basis(fitted)
    rows = given.rows[len(fitted) : len(fitted) + settings.batch] - mean
    x, encoder, shift = rows @ components, start.encoder @ components, start.encoder @ (mean - start.decoder_bias)
    high, low, limit = -start.gate_bias - shift, torch.full((width,), -torch.inf), len(rows) * width // 5

    def exact() -> Entries | None:
        return kernels.outside(x, torch.zeros(real.WIDTH), encoder, high, low, limit)

    tasks: dict[Any, Any] = {"product": lambda: torch.mm(x, encoder.T), "exact": exact}
    tasks |= {"rotate rows": lambda: rows @ components, "rotate encoder": lambda: start.encoder @ components}
    for screen in (Screen(k, z, most) for k in settings.ks for z in settings.zs for most in settings.mosts):
        tasks[screen] = lambda screen=screen: select(x, encoder, high, screen, limit)
    timed = interleaved(tasks, settings.runs)
    made: list[Row] = []
    for task, timing in timed.items():
        row = {"what": task, "d": real.WIDTH, "width": width, "batch": settings.batch, "runs": settings.runs}
        if isinstance(task, Screen):
            row |= {"what": "screened", **asdict(task), **missed(exact(), tasks[task](), given, shift)}
        row |= {"median_ms": round(1000 * timing.median, 3), "low_ms": round(1000 * timing.low, 3)}
        shares = {"units": timing.median / timed["product"].median, "of_exact": timing.median / timed["exact"].median}
        made.append(row | {name: round(share, 3) for name, share in shares.items()})
    return made


def missed(exact: Entries | None, screened: tuple[Entries | None, Tensor], given: Workload, shift: Tensor) -> Row:
    """Shares of candidates, of blocks that have one or are finished whole, and of active entries missed; what that does to the codes."""
    from assay.ops.kernels.geometry import MR, NR, pieces

    (entries, tally), (width, batch) = screened, (given.shape.width, given.shape.batch)
    if exact is None or entries is None:
        raise RuntimeError("more entries than a sparse batch may have")
    blocks = pieces(width, NR) * pieces(batch, MR)
    (whole, places), (part, others) = (decoded(each, given, shift) for each in (exact, entries))
    return {
        "l0": round(len(places) / batch, 2),
        "candidates": round(float(tally[0]) / width / batch, 5),
        "blocks_with_candidate": round(float(tally[1]) / blocks, 4),
        "blocks_whole": round(float(tally[2]) / blocks, 4),
        "missed": float(f"{int((~torch.isin(places, others)).sum()) / len(places):.2e}"),
        "reconstruction_error": float(f"{(part - whole).norm() / whole.norm():.2e}"),
    }


def decoded(entries: Entries, given: Workload, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The reconstruction from products on a support, and the support as places in the B x L table."""
    (offsets, latents, products), start = entries, given.start
    support = CsrSupport(offsets, latents, len(start.encoder))
    values = (start.log_rescale.exp()[latents] * (products + shift[latents]) + start.magnitude_bias[latents]).relu()
    return kernels.times(support, values, start.atoms) + start.decoder_bias, support.rows * support.width + latents


def screened(screen: Screen) -> Callable[..., Entries | None]:
    """`kernels.outside` by a screen, for gates that open upwards on rows whose mean is zero."""

    def outside(x: Tensor, center: Tensor, encoder: Tensor, high: Tensor, low: Tensor, limit: int) -> Entries | None:
        shift = encoder @ center
        entries, _ = select(x.contiguous(), encoder.contiguous(), high + shift, screen, limit)
        return entries and (entries[0], entries[1], entries[2] - shift[entries[1]])

    return outside


def trained(screen: Screen | None, seed: int, settings: Settings) -> Row:
    """A training in the rotated basis; where it ends, on rows that it did not see, encoded exactly."""
    rows = real.activations(settings.amount.rows).sample(settings.amount.rows)
    seen, unseen = rows[: -len(rows) // 8], rows[-len(rows) // 8 :]
    mean, components = basis(seen[:FITTED])
    dictionary = real.gated(real.WIDTH, settings.train_width, seed=seed)
    with torch.no_grad():
        for matrix in (dictionary.atoms, dictionary.encoder):
            matrix.copy_(matrix @ components)
    store = assay.ActivationStore.of((seen - mean) @ components, batch_size=settings.batch, seed=seed)
    config = assay.TrainConfig(steps=settings.steps, learning_rate=1e-3, log_every=10)
    with patch.object(kernels, "outside", screened(screen)) if screen else nullcontext():
        log = [(step.seconds, step.arms["gated"]) for step in assay.train({"gated": dictionary}, store, config)]
    with torch.no_grad():
        x = dictionary.scaled((unseen - mean) @ components)
        codes = dictionary.encode_scaled(x)
        error = (dictionary.decode_scaled(codes) - x).square().sum() / (x - x.mean(0)).square().sum()
    seconds = [after[0] - before[0] for before, after in pairwise(log)]
    return {
        "what": "trained", **asdict(screen or Screen(real.WIDTH, 0)), "width": settings.train_width, "batch": settings.batch,
        "seed": seed, "steps": settings.steps, "l0": float(codes.l0().mean()), "explained_variance": float(1 - error),
        "losses": [round(arm.loss, 5) for _, arm in log], "step_ms": round(100 * median(seconds[len(seconds) // 2 :]), 2),
    }  # fmt: skip


def measure(settings: Settings, folder: Path, meta: dict[str, Any]) -> None:
    """Cost and misses, then training, each saved when it is done."""
    for width in settings.widths:
        results.save(folder / "screening.json", cost(width, settings), KEY, meta)
    for seed in settings.seeds:
        for screen in settings.trained:
            row = trained(screen, seed, settings)
            say(str({**row, "losses": row["losses"][-1:]}))
            results.save(folder / "screening.json", [row], KEY, meta)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screening", description=__doc__)
    parser.add_argument("--widths", nargs="*", type=int, default=Settings.widths)
    parser.add_argument(
        "--seeds", nargs="*", type=int, default=Settings.seeds, help="of the trainings; none trains nothing"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    settings = Settings(widths=given.widths, seeds=given.seeds)
    measure(settings, given.results, results.describe("benchmarks.screening", typed))


if __name__ == "__main__":
    main()
