"""Suites: planned before they start, kept outcome by outcome, not done twice, refused in words; read by whoever reads an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import main
from assay.dictionary import Dictionary
from assay.run import kept
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of two tasks: one that counts latents, one that refuses."""
    monkeypatch.setattr(Task.registry, "_members", {})
    monkeypatch.setattr(Task.registry, "_discovered", True)

    class Width(Task, name="width", suite="probing", paper="none"):
        """How wide it is."""

        scores = {"latents": ScoreKind("L", "target")}

        class Config(Task.Config):
            times: int = 1
            """How often they are counted."""

        def prepare(self) -> None:
            CALLS.append("prepare")

        def score(self, dictionary: Dictionary) -> Scores:
            assert isinstance(self.settings, self.Config)
            CALLS.append("score")
            latents = self.settings.times * dictionary.config.width
            return Scores({"latents": latents}, {"a": 1}, {"latents": [latents - 1.0, latents + 1.0]})

        def cost(self) -> tuple[Cost, Cost]:
            return Cost(to_site=100), Cost(seconds=1.0)

    class Spelling(Task, name="spelling", suite="interp", paper="none"):
        """Never applicable."""

        scores = {"letters": ScoreKind("share", "higher")}

        def prepare(self) -> None:
            raise NotApplicable("3 letters are known, 20 are needed")

        def score(self, dictionary: Dictionary) -> Scores:
            raise AssertionError

        def cost(self) -> tuple[Cost, Cost]:
            return Cost(), Cost()

    CALLS.clear()


@pytest.fixture
def folder(toml: Path, tmp_path: Path) -> Path:
    for verb in ("harvest", "sweep"):
        assert main([verb, str(toml), "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_a_suite_says_its_time_first_and_is_not_done_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), "--suite", "probing", "--dry-run"]) == 0
    assert "width" in capsys.readouterr().out
    assert not CALLS
    assert main(["evaluate", str(folder), "--suite", "probing"]) == 0
    said = capsys.readouterr()
    assert said.err.index("width: about") < said.err.index("width, ")
    assert "width latents" in said.out
    first = list(CALLS)
    assert first.count("prepare") == 1
    assert main(["evaluate", str(folder), "--suite", "probing"]) == 0
    assert first == CALLS
    assert main(["evaluate", str(folder), "--suite", "probing", "--set", "suites.tasks.width.times=2"]) == 0
    assert len(CALLS) == 2 * len(first)


def test_all_measures_and_tries_and_one_file_holds_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), "--suite", "all", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    measured = kept.read_measurements(folder)
    assert measured is not None
    assert printed == measured.resolved()
    assert measured.records
    tasks = {outcome.task: outcome for outcome in measured.outcomes}
    assert tasks["spelling"].not_applicable == "3 letters are known, 20 are needed"
    assert not tasks["spelling"].scores
    assert any(outcome.arm.startswith("random@") for outcome in measured.outcomes)
    assert main(["report", str(folder)]) == 0
    assert main(["verify", str(folder)]) == 0


def test_a_wrong_arm_or_setting_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), "--suite", "probing", "--set", "suites.arms=['none']"]) == 1
    assert "suites.arms has 'none'" in capsys.readouterr().err
    assert main(["evaluate", str(folder), "--suite", "probing", "--set", "suites.tasks.width.other=2"]) == 1
    assert "suites.tasks.width" in capsys.readouterr().err
