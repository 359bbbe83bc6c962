"""A run that takes less than a second: a random llama of two blocks, texts of a dozen words, two shards, two arms, two checkpoints."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import torch

from assay.cli import main
from assay.materials import load_language_model, load_texts
from assay.ops import kernels
from assay.run import stages
from tests.tiny_language import write_model, write_texts

VERBS = ("harvest", "train", "sweep", "evaluate", "report")
BEFORE = {"harvest": (), "train": ("harvest",), "sweep": ("harvest",), "evaluate": ("harvest", "sweep")}
BEFORE["report"] = ("harvest", "sweep", "evaluate")
"""Verbs that come before each."""
WHOLE = ("harvest", "sweep", "evaluate", "report")
"""All that a run goes through, in order."""
MINI = {"train.steps": 4, "train.checkpoint_every": 2, "harvest.tokens": 60}
"""Settings of a run that is shorter still, for killing it twice."""


def prepare(folder: Path) -> Path:
    """Write model, texts and settings to a folder and load them once for all forks; the settings' file."""
    torch.set_num_threads(1)
    write_model(folder / "lm", width=8, blocks=2)
    write_texts(folder / "texts", documents=60, words=24)
    settings = folder / "small.toml"
    settings.write_text(
        f"""
        name = "small"
        model.name = "{folder}/lm"
        [source]
        texts = "{folder}/texts"
        context = 8
        held_out = 0.3
        [harvest]
        site = "resid_post.0"
        tokens = 120
        rows_per_shard = 60
        [batches]
        size = 16
        window = 1
        [train]
        steps = 8
        learning_rate = 0.01
        log_every = 2
        checkpoint_every = 3
        beta1 = 0.9
        [dictionaries.gated]
        variant = "gated"
        width = 12
        [dictionaries.topk]
        variant = "topk"
        width = 12
        k = 2
        [sweep]
        gated = [0.1]
        topk = [3]
        [evaluate]
        tokens = 60
        [latents]
        count = 2
        """
    )
    model, texts = load_language_model(f"{folder}/lm"), load_texts(f"{folder}/texts")
    stages.load_language_model = lambda name: model  # pyright: ignore
    stages.load_texts = lambda name: texts  # pyright: ignore
    time.perf_counter = lambda: 0.0  # what is timed is then the same in every process
    kernels.prepare()
    return settings


def run(verb: str, settings: Path, out: Path, changes: dict[str, object] | None = None) -> int:
    """One verb, as from the shell; its exit code."""
    flags = [part for key, value in (changes or {}).items() for part in ("--set", f"{key}={value}")]
    return main([verb, str(settings), "--out", str(out), *flags])


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its path; folders too, so that an empty one counts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found
