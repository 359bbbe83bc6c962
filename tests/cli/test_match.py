"""assay match, on a run of two seeds and on one of two widths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import main
from tests.tiny_language import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("match")
    path = write_run(
        folder,
        """
        name = "seeds"
        seeds = [0, 1]
        [harvest]
        site = "resid_post.1"
        tokens = 1000
        [batches]
        size = 128
        [train]
        steps = 5
        [dictionaries.narrow]
        variant = "topk"
        width = 24
        [dictionaries.wide]
        variant = "topk"
        width = 48
        [sweep]
        narrow = [4]
        wide = [4]
        """,
    )
    for verb in ("harvest", "sweep"):
        assert main([verb, str(path), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_seeds_of_one_setting_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(pair["first"], pair["second"]) for pair in found] == [
        ("narrow-4-s0", "narrow-4-s1"),
        ("wide-4-s0", "wide-4-s1"),
    ]
    assert all(0 < pair["consistency"] <= 1 and pair["splits"] is None for pair in found)


def test_widths_are_compared_with_what_splits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", str(folder), "--of", "narrow-4-s0", "wide-4-s1"]) == 0
    said = capsys.readouterr().out
    assert "narrow-4-s0 and wide-4-s1" in said
    assert "split; " in said


def test_names_that_are_not_there_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", str(folder), "--of", "narrow-4-s0", "other"]) == 1
    assert "no dictionary is called" in capsys.readouterr().err
