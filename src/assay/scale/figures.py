"""The arithmetic: each figure with its unit and its formula, in the letters of `Workload`.

A Gated dictionary has N = 2 d m + 3 m + d parameters: encoder and atoms, two biases and a rescale for each latent, one bias for each
dimension. Its step by plain autograd is eight products of 2 d m operations (counted in docs/speed.md); on the support it is one, and six
vectors of length d for each active entry. Its gradients are factors: rows and residuals, two numbers for each active entry, and its
latent. Rings of g GPUs send 2 (g - 1) / g of what they sum, (g - 1) / g of what they gather or scatter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from assay.scale.workload import Workload

Unit = Literal["bytes", "bytes/s", "operations", "hours", "seconds", "rows/s", "count", "share"]

LINE, ROW = 310, 11
"""Bytes of a line of manifest.jsonl, and of a shard in store.json."""
ENTRY = 12
"""Bytes of an active entry: its latent in 64 bits, its value in 32."""
HOUR = 3600.0


@dataclass(frozen=True)
class Figure:
    """One number of a plan."""

    group: str
    """Heading that it stands under."""
    what: str
    """In words."""
    value: float
    unit: Unit
    formula: str


Named = Iterator[tuple[str, Figure]]
Known = dict[str, float]


def checkpoint_interval(write: float, between_failures: float) -> float:
    """Seconds of work between checkpoints that lose least time, for C seconds to write one and X seconds between failures.

    sqrt(2 C X) (1 + sqrt(C / 2X) / 3 + C / 18X) - C for C < 2 X, else X: Daly (2006), "A higher order estimate of the optimum
    checkpoint interval for restart dumps"; its first term is that of Young (1974), "A first order approximation to the optimum
    checkpoint interval".
    """
    if write >= 2 * between_failures:
        return between_failures
    ratio = write / (2 * between_failures)
    return math.sqrt(2 * write * between_failures) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - write


def figures(work: Workload) -> dict[str, Figure]:
    """Every figure of a plan by a short name, in the order in which they are shown."""
    found: dict[str, Figure] = {}
    for part in (_activations, _harvest, _dictionary, _training, _sharding, _checkpoints, _latents):
        found |= dict(part(work, {name: figure.value for name, figure in found.items()}))
    return found


def _activations(w: Workload, _: Known) -> Named:
    group, shards, b = "activations on disk", math.ceil(w.tokens / w.rows_per_shard), w.bytes_each
    for name, what, each in (("bytes_16", "float16 or bfloat16", 2), ("bytes_32", "float32", 4)):
        total = w.tokens * w.sites * (each * w.d + 8)
        yield name, Figure(group, f"{what}, with origins", total, "bytes", f"T s ({each} d + 8)")
    shard = w.rows_per_shard * (b * w.d + 8) + 8 * w.d
    yield "shards", Figure(group, "shards of a site", shards, "count", "T / R")
    yield "shard", Figure(group, "one shard", shard, "bytes", "R (b d + 8) + 8 d")
    yield "manifest", Figure(group, "manifest.jsonl", LINE * shards, "bytes", f"{LINE} T / R")
    yield "description", Figure(group, "store.json", ROW * shards, "bytes", f"{ROW} T / R")
    yield "ids", Figure(group, "token ids in each process (TextSource)", 4 * w.tokens, "bytes", "4 T")


def _harvest(w: Workload, _: Known) -> Named:
    group, each, b = "harvest", 2 * w.parameters * w.depth, w.bytes_each
    rate = w.tokens_per_second or w.flops_per_second / each
    said = "as given" if w.tokens_per_second else "F / (2 P q)"
    hours, holders = w.tokens / rate / HOUR, math.ceil(2 * w.parameters / (w.gpu_memory * w.state_share))
    yield "forward", Figure(group, "forward pass", each * w.tokens, "operations", "2 P q T")
    yield "harvest_rate", Figure(group, "rate of a GPU", rate, "rows/s", said)
    yield (
        "harvest_write",
        Figure(group, "written by a GPU", rate * w.sites * (b * w.d + 8), "bytes/s", "rate s (b d + 8)"),
    )
    yield "harvest_hours", Figure(group, "GPU-hours", hours, "hours", "T / rate")
    yield "harvest_wall", Figure(group, "hours by G workers", hours / w.gpus, "hours", "T / (rate G)")
    yield "model_gpus", Figure(group, "GPUs to hold the model", holders, "count", "2 P / (u M)")


def _dictionary(w: Workload, _: Known) -> Named:
    group, n = "one Gated dictionary", 2 * w.d * w.latents + 3 * w.latents + w.d
    room, dense, state = w.gpu_memory * w.state_share, 16 * n, 8 * n + 8 * w.latents
    holders = math.ceil(state / room)
    yield "weights", Figure(group, "parameters", n, "count", "N = 2 d m + 3 m + d")
    yield "state_dense", Figure(group, "state: gradients, two moments", dense, "bytes", "16 N")
    yield "gpus_dense", Figure(group, "GPUs to hold that", math.ceil(dense / room), "count", "16 N / (u M)")
    yield "state", Figure(group, "state here: one moment, no gradients", state, "bytes", "8 N + 8 m")
    yield "gpus", Figure(group, "GPUs to hold that state", holders, "count", "(8 N + 8 m) / (u M)")
    yield "trainers", Figure(group, "GPUs that train", max(w.gpus, holders), "count", "g = max(G, that)")
    yield "table", Figure(group, "a dense table of a batch's codes", 4 * w.batch * w.latents, "bytes", "4 B m")
    yield "support", Figure(group, "its active entries", ENTRY * w.batch * w.active, "bytes", f"{ENTRY} B k")


def _training(w: Workload, known: Known) -> Named:
    group, rows = "training of it", w.epochs * w.tokens
    dense, sparse = ("16 d m", 16 * w.d * w.latents), ("2 d (m + 6 k)", 2 * w.d * (w.latents + 6 * w.active))
    ways = (
        ("_dense", "plain autograd", dense, None, max(w.gpus, known["gpus_dense"])),
        ("", "on the support", sparse, w.rows_per_second, known["trainers"]),
    )
    for name, way, (formula, each), measured, gpus in ways:
        rate = measured or w.flops_per_second / each
        said, hours = "as given" if measured else f"F / ({formula})", rows / rate / HOUR
        yield f"step{name}", Figure(group, f"{way}: a row", each, "operations", formula)
        yield f"rate{name}", Figure(group, f"{way}: rate of a GPU", rate, "rows/s", said)
        yield f"read{name}", Figure(group, f"{way}: read for a GPU", rate * w.bytes_each * w.d, "bytes/s", "rate b d")
        yield f"hours{name}", Figure(group, f"{way}: GPU-hours", hours, "hours", "e T / rate")
        yield f"wall{name}", Figure(group, f"{way}: hours", hours / gpus, "hours", "e T / (rate g)")
    yield "steps", Figure(group, "steps", rows / w.batch, "count", "e T / B")


def _sharding(w: Workload, known: Known) -> Named:
    group, n = "sent by each of g GPUs in a step", known["weights"]
    ring = (known["trainers"] - 1) / known["trainers"]
    summed = 2 * 2 * ring * 4 * w.batch * w.d
    yield "sent_latents", Figure(group, "latents sharded", summed, "bytes", "2 * 2 (g - 1) / g * 4 B d")
    factors = ring * w.batch * (8 * w.d + 16 * w.active)
    yield "sent_factors", Figure(group, "data parallel, factors", factors, "bytes", "(g - 1) / g * B (8 d + 16 k)")
    yield "sent_data", Figure(group, "data parallel, gradients", 2 * ring * 4 * n, "bytes", "2 (g - 1) / g * 4 N")
    yield "sent_fsdp", Figure(group, "fully sharded (FSDP)", 3 * ring * 4 * n, "bytes", "3 (g - 1) / g * 4 N")


def _checkpoints(w: Workload, known: Known) -> Named:
    group, gpus, size = "checkpoints", known["trainers"], known["state"]
    write, between = size / (gpus * w.write_rate), w.failure_hours * HOUR / gpus
    young, daly = math.sqrt(2 * write * between), checkpoint_interval(write, between)
    yield "checkpoint", Figure(group, "one; two are kept", size, "bytes", "8 N + 8 m")
    yield "write", Figure(group, "to write one", write, "seconds", "C = (8 N + 8 m) / (g W)")
    yield "between", Figure(group, "between failures", between, "seconds", "X = f / g")
    yield "young", Figure(group, "interval by Young", young, "seconds", "sqrt(2 C X)")
    yield "daly", Figure(group, "interval by Daly", daly, "seconds", "sqrt(2 C X) (1 + sqrt(C / 2X) / 3 + C / 18X) - C")
    yield "lost", Figure(group, "time lost, about", math.sqrt(2 * write / between), "share", "sqrt(2 C / X)")


def _latents(w: Workload, _: Known) -> Named:
    group, fires, rows = "how often a latent is taught", w.active / w.latents, w.epochs * w.tokens
    yield "rows_each", Figure(group, "rows for each latent", rows / w.latents, "count", "e T / m")
    yield "firings", Figure(group, "firings of an average latent", rows * fires, "count", "e T k / m")
    yield "firings_batch", Figure(group, "its firings in a batch", w.batch * fires, "count", "B k / m")
    yield "firings_window", Figure(group, "its firings in the dead window", w.dead_window * fires, "count", "D k / m")
