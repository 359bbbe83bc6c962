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
    target = folder / f"step-{step:08d}"

    def fill(part: Path) -> None:
        for name, tensors in arms.items():
            disk.write_tensors(part / f"{name}.safetensors", tensors)
        disk.write_json(part / "state.json", {"step": step, "identity": identity, "log_bytes": log_bytes})

    disk.publish(target, fill)
    if problems := disk.check_manifest(target):
        raise CorruptData(
            problems[0], expected="the checkpoint just written", do="Check the disk; the one before is whole."
        )


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what crashes left behind."""
    for part in folder.glob("step-*.part*"):
        if part.is_dir() and not part.is_symlink():
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


def load(
    path: Path, arms: Mapping[str, Mapping[str, Tensor]], identity: Any
) -> tuple[int, int, dict[str, dict[str, Tensor]]]:
    """(step, log bytes, tensors of each arm, which must be like those in `arms`).

    Raises ConfigError when the checkpoint belongs to another run, CorruptData.
    """
    state = disk.read_json(path / "state.json")
    known = state if isinstance(state, dict) else {}
    numbers = known.get("step"), known.get("log_bytes")
    if not isinstance(known.get("identity"), dict) or any(type(n) is not int or n < 0 for n in numbers):
        raise CorruptData(
            f"{path / 'state.json'} does not describe a checkpoint",
            expected="its step, the identity of its run, and the bytes of the log",
            do="Delete the checkpoint; training goes on from the one before, or from the start.",
        )
    if state["identity"] != identity:
        raise ConfigError(
            f"the checkpoint {path} was made with other settings ({differences(state['identity'], identity)})",
            expected="the settings of the run that it continues",
            do="Put them back, or train into another folder.",
        )
    tensors = {
        name: disk.read_tensors(path / f"{name}.safetensors", disk.signature(like)) for name, like in arms.items()
    }
    return state["step"], state["log_bytes"], tensors


def _all(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.glob("step-*") if path.name[5:].isdigit() and path.is_dir() and not path.is_symlink()
    )
