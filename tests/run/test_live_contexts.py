"""A run whose batches are whole contexts, from the shell: the model's predictions teach, and it goes on from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import main
from assay.errors import ConfigError
from assay.run import Workspace
from tests.tiny_language import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("live")
    write_run(
        place,
        """
        name = "live"
        harvest = { site = "resid_post.1", tokens = 1000 }
        batches.contexts = 8
        train = { steps = 60, learning_rate = 0.01, checkpoint_every = 20, log_every = 20, sample_rows = 500 }
        evaluate.tokens = 300
        latents.count = 2
        [dictionaries.end_to_end]
        variant = "end_to_end"
        width = 48
        sparsity.value = 0.02
        """,
    )
    assert main(["harvest", str(place / "run.toml"), "--out", str(place / "out")]) == 0
    assert main(["train", str(place / "out"), "--dry-run"]) == 0
    for verb in ("train", "evaluate", "report"):
        assert main([verb, str(place / "out")]) == 0
    return place / "out"


def test_the_kl_of_the_predictions_is_part_of_the_training(folder):
    lines = (folder / "training/progress.jsonl").read_text().splitlines()
    logged = [json.loads(line)["arms"]["end_to_end"]["terms"]["kl"] for line in lines]
    assert 0 < logged[-1] < logged[0]


def test_the_report_says_that_the_contexts_were_run_live(folder):
    assert "8 contexts, run live" in json.loads((folder / "report.json").read_text())["provenance"]["training"]


def test_a_second_training_does_nothing_and_all_verifies(folder):
    path = folder / "dictionaries/end_to_end/dictionary.safetensors"
    before = path.read_bytes()
    assert main(["train", str(folder)]) == 0
    assert path.read_bytes() == before
    assert main(["verify", str(folder)]) == 0


def test_a_dry_run_counts_the_model_in(folder, capsys):
    assert main(["train", str(folder), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "passes of a batch of contexts, and back" in printed
    assert "language model and its libraries" in printed


def test_several_sites_have_no_live_contexts(folder):
    run = Workspace.open(folder).run.revised({"harvest.site": "mlp_in.1 + mlp_out.1"})
    with pytest.raises(ConfigError, match="one site"):
        Workspace(run, folder).stream
