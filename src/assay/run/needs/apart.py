"""The advice of `estimate`, found in a process of its own.

Where memory has just run out, reckoning in the same process may end it before it has said so: libraries abort when an allocation of theirs
fails. What another process does cannot take the message away, and it starts with nothing held.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.config import parse
from assay.run.needs.advice import in_words
from assay.run.needs.estimate import advice
from assay.run.needs.memory import StageName
from assay.run.settings import Run
from assay.run.stages import Workspace

SECONDS = 120
"""Longest wait."""
COMMAND: Sequence[str] = (sys.executable, "-m", "assay.run.needs.apart")


@dataclass(frozen=True)
class Advice:
    """What a stage needs at its peak, and what would lessen that, in words; empty where it could not be found."""

    peak: str = ""
    changes: tuple[str, ...] = ()


def advice_apart(workspace: Workspace, stage: StageName, *, sweep: bool) -> Advice:
    """The memory of a stage, and the cheapest changes. Raises nothing: without room for another process there is no advice."""
    question = {"run": workspace.run.resolved(), "folder": str(workspace.folder), "stage": stage, "sweep": sweep}
    try:
        done = subprocess.run(
            COMMAND, input=json.dumps(question), capture_output=True, text=True, timeout=SECONDS, check=True
        )
        answer = json.loads(done.stdout.strip().rpartition("\n")[2])  # below what a library may have printed
        return Advice(answer["peak"], tuple(answer["changes"]))
    except (OSError, ValueError, MemoryError, subprocess.SubprocessError):
        return Advice()


def _answer(question: str) -> str:
    asked = json.loads(question)
    workspace = Workspace(parse(Run, asked["run"], where="run"), Path(asked["folder"]))
    memory, changes = advice(workspace, asked["stage"], sweep=asked["sweep"])
    peak = f"about {in_words(memory.peak.total)}, when {memory.peak.when}" if memory else ""
    return json.dumps({"peak": peak, "changes": [*map(str, changes)]})


if __name__ == "__main__":
    print(_answer(sys.stdin.read()))
