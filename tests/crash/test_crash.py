"""A small share of `make test-crash`, in a process of its own, since it forks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_share_of_all_trials_goes_well() -> None:
    command = [sys.executable, "-m", "tests.crash", "--share", "0.03", "--only", "strikes", "kills", "corruptions"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["kill_points"] > 30
    assert summary["random_kills"] >= 6
    assert summary["corruptions"] >= 50
    assert summary["wrong"] == summary["mismatches"] == summary["silent"] == 0
