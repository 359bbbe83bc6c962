"""Real activations and a dictionary trained on them, made once and kept in assay's cache folder, outside the repository."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch

import assay
from assay.errors import CorruptData
from assay.materials.cache import cache_folder
from benchmarks.results import say
from benchmarks.workload import Shape, Start, Workload, biased

MODEL, TEXTS, SITE = "smollm2", "reviews", "resid_post.9"
WIDTH = 576
"""Width of that site."""
DIAL = 0.15
"""L1 weight of the Gated dictionary, which gives about 60 active latents after so short a training."""


@dataclass(frozen=True)
class Amount:
    """How many rows are harvested, and how long the dictionary trains on them."""

    rows: int = 65_536
    steps: int = 300


def workload(shape: Shape, l0: int, amount: Amount) -> Workload:
    """Standardised activations and the trained weights; one constant on the gate biases sets L0 exactly."""
    if shape.d != WIDTH:
        raise ValueError(f"real activations are {WIDTH} wide; a shape with d={shape.d} has synthetic ones only")
    dictionary = trained(shape.width, amount)
    with torch.no_grad():
        rows = dictionary.scaled(activations(amount.rows).sample(amount.rows))
        weights = {name: parameter.detach().clone() for name, parameter in dictionary.named_parameters()}
    return Workload(shape, rows, biased(rows, Start(**weights), l0), l0)


def folder() -> Path:
    """Where the harvest and the dictionaries are kept."""
    return cache_folder() / "benchmarks"


def place(rows: int) -> Path:
    """The folder of a harvest of so many rows."""
    return folder() / f"{MODEL}-{SITE}-{rows}"


def activations(rows: int, *, batch_size: int = 2048, seed: int = 0) -> assay.ActivationStore:
    """The site's activations on the training part of the texts, harvested at the first call."""
    where = place(rows)
    if (where / "done").exists():
        with suppress(CorruptData):  # as kept by an older assay
            return _open(where, batch_size, seed)
    shutil.rmtree(where, ignore_errors=True)
    say(f"harvesting {rows:,} rows of {MODEL} {SITE}")
    model, source = language_model(), text("train")
    assay.harvest(model.model, source, [SITE], where, tokens=rows, identity={"identity": model.identity})
    (where / "done").touch()
    return _open(where, batch_size, seed)


def _open(where: Path, batch_size: int, seed: int) -> assay.ActivationStore:
    store = next(where.glob("*/store.json")).parent
    return assay.ActivationStore.open(store, batch_size=batch_size, seed=seed)


@cache
def language_model():
    """The small packaged model."""
    return assay.load_language_model(MODEL)


@cache
def text(part: Literal["train", "held_out"]) -> assay.TextSource:
    """The training or the held-out part of the film reviews."""
    return assay.TextSource(assay.load_texts(TEXTS), language_model().tokenizer, part=part)


def trained(width: int, amount: Amount) -> assay.Dictionary:
    """A Gated dictionary trained by assay on those activations, at the first call."""
    where = folder() / f"gated-{width}-{amount.rows}-{amount.steps}"
    if not where.exists():
        say(f"training a Gated dictionary of width {width:,} for {amount.steps} steps")
        store = activations(amount.rows, batch_size=min(2048, amount.rows))
        dictionary = gated(store.width, width)
        config = assay.TrainConfig(steps=amount.steps, learning_rate=1e-3, log_every=50)
        for progress in assay.train({"gated": dictionary}, store, config):
            say(f"  step {progress.step}: L0 {progress.arms['gated'].l0:.1f}")
        dictionary.save(where)
    return assay.Dictionary.load(where)


def gated(d: int, width: int, seed: int = 0) -> assay.Dictionary:
    """A new Gated dictionary at the benchmark's dial."""
    config = assay.Dictionary.registry.named("gated").Config
    sparsity = assay.Weight(value=DIAL, warmup=0.05)
    return config(d_in=d, width=width, seed=seed, sparsity=sparsity).build()
