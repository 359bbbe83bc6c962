"""Nothing is ever unpickled: an audit hook hears every load path in a process of its own, and hears the controls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATHS = {
    *("store", "checkpoint", "dictionary", "run", "settings", "texts", "packed texts", "GGUF", "language model"),
    *("kernel cache", "manifest"),
}
CONTROLS = {
    "pickle.loads": "pickle.find_class",
    "pickle.loads of a number": "pickle.loads",
    "pickle.Unpickler": "pickle.find_class",
    "torch.load": "torch.load",
    "numpy.load": "pickle.",
    "marshal": "marshal.loads",
    "exec": "exec",
}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("paths")
    command = [sys.executable, "-m", "tests.fuzz.load_paths", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_path_was_taken(heard: dict[str, list[str]]) -> None:
    assert set(heard) == PATHS | {f"control: {name}" for name in CONTROLS}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_load_path_unpickles_nothing_and_runs_nothing_that_it_read(heard: dict[str, list[str]], path: str) -> None:
    assert heard[path] == []


@pytest.mark.parametrize("control", CONTROLS)
def test_what_no_load_path_may_do_is_heard(heard: dict[str, list[str]], control: str) -> None:
    assert any(event.startswith(CONTROLS[control]) for event in heard[f"control: {control}"])
