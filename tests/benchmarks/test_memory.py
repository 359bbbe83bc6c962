"""Cases of the memory benchmark are run files, and their rows become a table that says how far the estimates are off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.config import parse, read_toml
from assay.run import Run
from benchmarks import tables
from benchmarks.memory import CASES, QUICK, TOLERANCE, Case
from benchmarks.results import RESULTS


@pytest.mark.parametrize("case", [*CASES, *QUICK], ids=lambda case: case.name)
def test_every_case_is_a_run(case: Case, tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text(case.toml(tmp_path), encoding="utf-8")
    assert parse(Run, read_toml(path), where=case.name).arms(max(case.depth, 1), sweep=True)


def test_names_are_unique_and_several_stages_have_unseen_cases():
    assert len({(case.name, case.stage) for case in CASES}) == len(CASES) >= 12
    assert {case.stage for case in CASES if not case.seen} >= {"harvest", "train", "evaluate"}


def row(name: str, stage: str, ratio: float, *, seen: bool) -> dict:
    parts = {"interpreter and libraries": 300.0, "a": 10.0, "b": 40.0}
    sizes = {"estimated_mib": 350.0, "measured_mib": round(350 / ratio, 1), "ratio": ratio}
    return {"configuration": name, "stage": stage, "seen": seen, **sizes, "when": "always", "parts_mib": parts}


def test_the_table_names_the_spread_and_the_largest_part_beside_the_libraries():
    rows = [
        row("x", "train", 1.1, seen=True),
        row("y", "train", 0.7, seen=False),
        row("z", "harvest", 0.95, seen=False),
    ]
    text = tables.memory(rows)
    assert "2 of 3 estimates are within 20 %" in text
    assert "from 0.70 to 1.10" in text
    assert "unseen ones from 0.70 to 0.95" in text
    lines = text.splitlines()
    assert lines[-3:] == [
        "| harvest | z | 350 | 368 | 0.95 | no | b: 40 |",
        "| train | x | 350 | 318 | 1.10 | yes | b: 40 |",
        "| train | y | 350 | 500 | 0.70 | no | b: 40 |",
    ]


def test_the_committed_estimates_are_within_a_fifth():
    rows = json.loads((RESULTS / "memory.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows) >= 12
    assert [row["configuration"] for row in rows if abs(row["ratio"] - 1) > TOLERANCE] == []
