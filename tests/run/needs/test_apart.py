"""Advice comes from another process, and what becomes of that one never hides that memory ran out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from assay.cli.guard import LOWER
from assay.cli.shortage import advised
from assay.errors import OutOfMemory
from assay.run import Run, Workspace
from assay.run.needs import apart
from assay.run.needs.estimate import advice
from benchmarks.memory import TINY, Case, arm
from benchmarks.memory_body import write_tiny_llama


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    from assay.config import parse, read_toml

    write_tiny_llama(tmp_path)
    path = tmp_path / "run.toml"
    path.write_text(Case("t", "train", TINY, arms={"topk": arm("topk", 4096)}).toml(tmp_path), encoding="utf-8")
    return Workspace(parse(Run, read_toml(path), where=str(path)), tmp_path / "out")


def test_it_is_the_advice_of_this_process(workspace: Workspace) -> None:
    found = apart.advice_apart(workspace, "train", sweep=False)
    memory, changes = advice(workspace, "train", sweep=False)
    assert memory is not None
    assert found.peak.endswith(f", when {memory.peak.when}")
    keys = [change.key for change in changes]
    assert [change.split("=")[0].removeprefix("--set ") for change in found.changes] == keys
    assert 1 <= len(keys) <= 3


@pytest.mark.parametrize(
    "fate",
    ["import os; os.abort()", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "raise MemoryError", "print(chr(123))",
     "import time; time.sleep(60)"],
    ids=["aborts", "crashes", "runs out too", "is cut short", "hangs"],
)  # fmt: skip
def test_the_message_is_said_whatever_becomes_of_it(workspace: Workspace, monkeypatch, fate: str) -> None:
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-c", fate))
    monkeypatch.setattr(apart, "SECONDS", 2)
    with (
        pytest.raises(OutOfMemory, match=r"memory ran out in the stage train of .* \(no room\)") as told,
        advised(workspace, "train"),
    ):
        raise MemoryError("no room")
    assert LOWER in str(told.value)


def test_without_room_for_a_process_it_is_said_too(workspace: Workspace, monkeypatch) -> None:
    monkeypatch.setattr(apart, "COMMAND", ("/nowhere/python",))
    assert apart.advice_apart(workspace, "train", sweep=False) == apart.Advice()
