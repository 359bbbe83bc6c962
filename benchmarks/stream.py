"""What surrounds the step: harvesting, reading, evaluating, and many dictionaries on one stream: results/stream.json.

Real model, real text, the allocator as it is. Each cost stands beside the least that it could be: the harvest beside the bare forward,
reading a store beside reading its files, two dictionaries beside one.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import assay
from benchmarks import real, results
from benchmarks.libraries import LEARNING_RATE, ours
from benchmarks.results import RESULTS, Row, say
from benchmarks.timing import interleaved
from benchmarks.workload import Shape, Workload, biased, random_start

KEY = ("what", "dictionaries")
LAYERS = 10
"""Blocks up to the site and with it."""
CONTEXTS = 16
"""Contexts in a forward, as in `assay.harvest` by default."""
STEPS = 10


@dataclass(frozen=True)
class Settings:
    """How much is done; the defaults are what the page shows."""

    tokens: int = 16_384
    stored_rows: int = 65_536
    evaluated: int = 2048
    arms: int = 6
    arm_width: int = 2304
    width: int = 4096
    batch: int = 2048
    counts: Sequence[int] = (1, 2, 4, 8)
    l0: int = 60
    runs: int = 5


def harvesting(settings: Settings) -> list[Row]:
    """Tokens a second of `assay.harvest` into a new folder, and of the model's own first blocks on as many contexts.

    The harvest includes its plan, which counts the source's rows, float16, hashes and syncing to disk. The bare forward is the model
    without its later blocks and without its head, in inference mode; its inputs are ready. Tokenising is done before both.
    """
    lm, source = real.language_model(), real.text("train")
    contexts = -(-settings.tokens // int(source.inputs(0, 1).keep.sum()))
    inputs = [source.inputs(i, min(i + CONTEXTS, contexts)).arguments for i in range(0, contexts, CONTEXTS)]
    trunk = copy.copy(lm.model.model)
    trunk._modules = dict(trunk._modules) | {"layers": trunk.layers[:LAYERS]}

    def bare() -> None:
        with torch.inference_mode():
            for batch in inputs:
                trunk(**batch, use_cache=False)

    def harvest() -> None:
        with tempfile.TemporaryDirectory() as folder:
            assay.harvest(lm.model, source, [real.SITE], folder, tokens=settings.tokens)

    timed = interleaved({"bare": bare, "harvest": harvest}, settings.runs)
    speeds = {name: settings.tokens / timing.median for name, timing in timed.items()}
    return [
        {
            "what": "harvest",
            "tokens": settings.tokens,
            "tokens_per_second": round(speeds["harvest"], 1),
            "bare_tokens_per_second": round(speeds["bare"], 1),
            "ratio": round(speeds["harvest"] / speeds["bare"], 3),
            "runs": settings.runs,
        }
    ]


def reading(settings: Settings) -> list[Row]:
    """Rows a second of one epoch of batches of a store that was just opened, and of reading its files whole.

    Both from the system's cache of files. The store checks hashes, permutes rows and makes them float32; the plain read does nothing.
    """
    shards = next(_place(settings).glob("*/store.json")).parent

    def store() -> None:
        opened = assay.ActivationStore.open(shards, batch_size=settings.batch)
        for _ in islice(opened.batches(), opened.rows // settings.batch):
            pass

    def files() -> None:
        for path in sorted(shards.glob("*.safetensors")):
            path.read_bytes()

    timed = interleaved({"files": files, "store": store}, settings.runs)
    rows = assay.ActivationStore.open(shards).rows
    read = rows // settings.batch * settings.batch
    return [
        {
            "what": "store",
            "rows": read,
            "rows_per_second": round(read / timed["store"].median),
            "file_rows_per_second": round(rows / timed["files"].median),
            "megabytes": round(sum(path.stat().st_size for path in shards.glob("*.safetensors")) / 1e6, 1),
            "runs": settings.runs,
        }
    ]


def evaluating(settings: Settings) -> list[Row]:
    """Seconds for 10,000 tokens of `evaluate_model` with every metric, all arms together."""
    lm, source = real.language_model(), real.text("held_out")
    store = real.activations(settings.stored_rows)
    given = raw_workload(store.sample(min(settings.stored_rows, 8192)), settings.arm_width, settings)
    arms = {f"gated-{i}": ours.dictionary("gated", given, k=settings.l0) for i in range(settings.arms)}
    site, mean = assay.locate(lm.model, real.SITE), store.mean()

    def evaluate() -> None:
        assay.evaluate_model(arms, lm.model, site, source, mean=mean, tokens=settings.evaluated)

    timing = interleaved({"evaluate": evaluate}, min(settings.runs, 3))["evaluate"]
    seconds = timing.median * 10_000 / settings.evaluated
    return [
        {
            "what": "evaluate_model",
            "arms": settings.arms,
            "width": settings.arm_width,
            "tokens": settings.evaluated,
            "seconds_per_10k_tokens": round(seconds, 2),
            "runs": len(timing.seconds),
        }
    ]


def sharing(settings: Settings) -> list[Row]:
    """Seconds of a step in which 1, 2, 4, 8 Gated dictionaries learn from the same batch, read from disk."""
    sample = real.activations(settings.stored_rows).sample(min(settings.stored_rows, 8192))
    given = raw_workload(sample, settings.width, settings)
    config = assay.TrainConfig(steps=10**6, learning_rate=LEARNING_RATE, warmup=0, decay=0, log_every=STEPS)
    rows = dict.fromkeys(settings.counts, 0)

    def trainer(count: int) -> Callable[[], None]:
        arms = {f"gated-{i}": ours.dictionary("gated", given, k=settings.l0) for i in range(count)}
        store = real.activations(settings.stored_rows, batch_size=settings.batch)
        progress = assay.train(arms, store, config)

        def steps() -> None:
            rows[count] = next(progress).rows_read

        return steps

    timed = interleaved({str(count): trainer(count) for count in settings.counts}, settings.runs)
    return [
        {
            "what": "one stream",
            "dictionaries": count,
            "width": settings.width,
            "batch": settings.batch,
            "seconds_per_step": round(timed[str(count)].each(STEPS).median, 4),
            "rows_read_per_step": rows[count] // (STEPS * (settings.runs + 1)),
            "runs": settings.runs,
        }
        for count in settings.counts
    ]


def raw_workload(rows: torch.Tensor, width: int, settings: Settings) -> Workload:
    """Raw rows, and random weights whose gates are open for `l0` latents a row once the rows are standardised."""
    shape = Shape(rows.shape[1], width, settings.batch)
    centred = rows - rows.mean(0)
    scaled = centred / centred.square().sum(-1).mean().sqrt()
    start = random_start(shape, torch.Generator().manual_seed(0))
    return Workload(shape, rows, biased(scaled, start, settings.l0), settings.l0)


def measure(settings: Settings, folder: Path, meta: dict[str, Any]) -> None:
    """All four, each saved when it is done."""
    for part in (harvesting, reading, evaluating, sharing):
        rows = part(settings)
        for row in rows:
            say(str(row))
        results.save(folder / "stream.json", rows, KEY, meta)


def _place(settings: Settings) -> Path:
    real.activations(settings.stored_rows)
    return real.place(settings.stored_rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.add_argument("--runs", type=int, default=Settings.runs)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    measure(Settings(runs=given.runs), given.results, results.describe("benchmarks.stream", typed))


if __name__ == "__main__":
    main()
