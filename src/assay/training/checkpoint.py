"""Checkpoints from which training goes on bit for bit: folders renamed into place whole, their MANIFEST written last.

    step-00000400/<arm>.safetensors    parameters, buffers, Adam moments, silent-token counts
    step-00000400/state.json           step, identity of the run, bytes and hash of the progress log
    step-00000400/MANIFEST.json        sizes and hashes

The order of the data needs no state beyond the step. The newest checkpoint that is whole is used; two are kept while training goes on
and one when it is done, and an old one goes only after the new one was read back.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash
from torch import Tensor

from assay import disk, tensor_file
from assay.config import differences
from assay.errors import ConfigError, CorruptData

KEPT = 2
STATE = "state.json"


@dataclass(frozen=True)
class State:
    """What a checkpoint says beside its tensors."""

    step: int
    identity: dict[str, Any]
    """All that changes the result of the training."""
    log_bytes: int
    """Length of the progress log when the checkpoint was made."""
    log_xxh3_128: str
    """Hash of that much of the log."""


def save(folder: Path, state: State, arms: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write a checkpoint and read it back. Raises OutOfDisk, CorruptData."""
    target = place(folder, state.step)

    def fill(part: Path) -> None:
        for name, tensors in arms.items():
            tensor_file.write(part / f"{name}.safetensors", tensors)
        disk.write_json(part / STATE, asdict(state))

    disk.publish(target, fill)
    if problems := disk.check_manifest(target):
        raise CorruptData(
            problems[0], expected="the checkpoint just written", do="Check the disk; the one before is whole."
        )


def place(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:08d}"


def prune(folder: Path, keep: int, newest: Path | None = None) -> None:
    """Remove all but the newest `keep` checkpoints; those after `newest`, if that is said, count as damaged and go too."""
    found = all_of(folder)
    good = [path for path in found if newest is None or path <= newest]
    for path in found:
        if path not in good[-keep:]:
            shutil.rmtree(path)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; None when there is none. Raises CorruptData when all that exist are damaged."""
    problems: list[str] = []
    for path in reversed(all_of(folder)):
        found = disk.check_manifest(path)
        if not found:
            return path
        problems += found
    if problems:
        raise CorruptData(
            f"no checkpoint in {folder} is whole ({problems[0]})",
            expected="at least one whole checkpoint",
            do="Run `assay verify --repair` on the folder of the run: it trains again from the start.",
        )
    return None


def read_state(path: Path) -> State:
    """What a checkpoint says. Raises MissingMaterial, CorruptData."""
    record = disk.read_json(path / STATE)
    try:
        state = State(**record)
        numbers = state.step, state.log_bytes
        if not isinstance(state.identity, dict) or any(type(number) is not int or number < 0 for number in numbers):
            raise TypeError
    except TypeError:
        raise CorruptData(
            f"{path / STATE} does not describe a checkpoint",
            expected="its step, the identity of its run, bytes and hash of the log",
            do="Delete the checkpoint; training goes on from the one before, or from the start.",
        ) from None
    return state


def load(path: Path, identity: Any) -> State:
    """`read_state` of a checkpoint of this very run. Raises ConfigError when it belongs to another, MissingMaterial, CorruptData."""
    state = read_state(path)
    if state.identity != identity:
        raise ConfigError(
            f"the checkpoint {path} was made with other settings ({differences(state.identity, identity)})",
            expected="the settings of the run that it continues",
            do="Put them back, or train into another folder.",
        )
    return state


def load_arm(path: Path, name: str, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one arm, which must be like those at hand. Raises MissingMaterial, CorruptData."""
    return tensor_file.read(path / f"{name}.safetensors", tensor_file.signature(like))


def check_log(state: State, log: Path) -> str | None:
    """What is wrong with the part of the log that a checkpoint vouches for."""
    written = disk.read(log)[: state.log_bytes] if log.exists() else b""
    if len(written) < state.log_bytes:
        return f"{log} is {len(written):,} bytes long"
    if xxhash.xxh3_128_hexdigest(written) != state.log_xxh3_128:
        return f"{log} is not as it was written (its hash differs)"
    return None


def all_of(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whole or not, the oldest first."""
    return sorted(
        path for path in folder.glob("step-*") if path.name[5:].isdigit() and path.is_dir() and not path.is_symlink()
    )
