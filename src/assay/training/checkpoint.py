"""Checkpoints from which training goes on bit for bit: folders renamed into place whole, their MANIFEST written last.

    step-00000400/<arm>.safetensors    parameters, buffers, Adam moments, silent-token counts
    step-00000400/state.json           step, identity of the run, bytes of the progress log
    step-00000400/MANIFEST.json        sizes and hashes

The order of the data needs no state beyond the step. The newest checkpoint that is whole is used; two are kept while training goes on
and one when it is done, and an old one goes only after the new one was read back.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from assay import disk
from assay.config import differences
from assay.errors import ConfigError, CorruptData

KEPT = 2


def save(folder: Path, step: int, arms: Mapping[str, Mapping[str, Tensor]], identity: Any, log_bytes: int) -> None:
    """Write a checkpoint and read it back. Raises OutOfDisk, CorruptData."""
    target = place(folder, step)

    def fill(part: Path) -> None:
        for name, tensors in arms.items():
            disk.write_tensors(part / f"{name}.safetensors", tensors)
        disk.write_json(part / "state.json", {"step": step, "identity": identity, "log_bytes": log_bytes})

    disk.publish(target, fill)
    if problems := disk.check_manifest(target):
        raise CorruptData(
            problems[0], expected="the checkpoint just written", do="Check the disk; the one before is whole."
        )


def place(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:08d}"


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what crashes left behind."""
    for part in folder.glob("step-*.part*"):
        shutil.rmtree(part)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; None when there is none. Raises CorruptData when all that exist are damaged."""
    problems: list[str] = []
    for path in reversed(_all(folder)):
        found = disk.check_manifest(path)
        if not found:
            return path
        problems += found
    if problems:
        raise CorruptData(
            f"no checkpoint in {folder} is whole ({problems[0]})",
            expected="at least one whole checkpoint",
            do="Restore the folder from a copy, or delete it to train from the start.",
        )
    return None


def load(path: Path, names: list[str], identity: Any) -> tuple[int, int, dict[str, dict[str, Tensor]]]:
    """(step, log bytes, tensors of each arm). Raises ConfigError when the checkpoint belongs to another run."""
    state = disk.read_json(path / "state.json")
    if state["identity"] != identity:
        raise ConfigError(
            f"the checkpoint {path} was made with other settings ({differences(state['identity'], identity)})",
            expected="the settings of the run that it continues",
            do="Put them back, or train into another folder.",
        )
    return state["step"], state["log_bytes"], {name: disk.read_tensors(path / f"{name}.safetensors") for name in names}


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit())
