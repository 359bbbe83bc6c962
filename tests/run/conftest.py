"""A small run from the shell: a random model in a local folder, texts of a few words, two kinds of dictionary."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.cli import main
from tests.tiny_language import write_run


@pytest.fixture(scope="session")
def toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(
        tmp_path_factory.mktemp("run"),
        """
        name = "small"
        [harvest]
        site = "resid_post.1"
        tokens = 2000
        rows_per_shard = 700
        [batches]
        size = 128
        [train]
        steps = 60
        learning_rate = 0.01
        checkpoint_every = 20
        [dictionaries.gated]
        variant = "gated"
        width = 48
        [dictionaries.topk]
        variant = "topk"
        width = 48
        [sweep]
        gated = [0.1, 0.3]
        topk = [2, 6]
        [evaluate]
        tokens = 300
        [latents]
        count = 3
        """,
    )


@pytest.fixture(scope="session")
def folder(toml: Path) -> Path:
    out = toml.parent / "out"
    for verb in ("harvest", "sweep", "evaluate", "report"):
        assert main([verb, str(toml), "--out", str(out)]) == 0
    return out
