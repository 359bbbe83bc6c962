"""Rows are merged by their key, and what was measured before survives."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import results

KEY = ("library", "width")


def test_a_row_replaces_the_one_with_its_key_in_its_place():
    old = [{"library": "a", "width": 1, "ms": 1}, {"library": "b", "width": 1, "ms": 2}]
    new = [{"library": "a", "width": 1, "ms": 9}, {"library": "a", "width": 2, "ms": 3}]
    assert results.merge(old, new, KEY) == [new[0], old[1], new[1]]


def test_saving_twice_keeps_both_rows_with_their_commits_both_commands_and_the_latest_meta(tmp_path: Path):
    path = tmp_path / "results" / "step.json"
    results.save(path, [{"library": "a", "width": 1}], KEY, {"date": "yesterday", "command": "one", "commit": "old"})
    results.save(path, [{"library": "a", "width": 2}], KEY, {"date": "today", "command": "two", "commit": "new"})
    assert json.loads(path.read_text()) == {
        "meta": {"date": "today", "command": "two", "commit": "new", "commands": ["one", "two"]},
        "rows": [{"library": "a", "width": 1, "commit": "old"}, {"library": "a", "width": 2, "commit": "new"}],
    }
    assert [file.name for file in path.parent.iterdir()] == ["step.json"]


def test_what_was_never_measured_has_no_rows(tmp_path: Path):
    assert results.read(tmp_path / "none.json")["rows"] == []


def test_a_description_says_what_where_and_how():
    meta = results.describe("benchmarks.step", ["--runs", "5"])
    assert set(meta) == {"commit", "machine", "versions", "command", "threads", "date"}
    assert meta["command"] == "python -m benchmarks.step --runs 5"
    assert "torch" in meta["versions"]
