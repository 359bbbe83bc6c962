"""The cache outside the repository: folders that appear whole and are checked against their MANIFEST at every use.

A lock beside the folder lets one process make it while the others wait; whoever comes second finds it and keeps it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.errors import ConfigError, CorruptData
from assay.folders import cache_folder
from assay.materials.catalogue import Material

MEMBERS = "members"
CONVERSION = 1
"""Raised when the same file would be converted to something else; part of a model's provenance."""
CONVERTED = f"converted-{CONVERSION}"


def folder_of(material: Material, part: str) -> Path:
    """The folder of one part (MEMBERS, CONVERTED) of a material; it need not exist yet."""
    return cache_folder() / material.key / part


def kept(material: Material, part: str, fill: Callable[[Path], None], *, needs: int, anew: bool = False) -> Path:
    """The folder of `part`, made by `fill(empty folder)` if it is not there or `anew` is said, and checked.

    `needs` is how many bytes making it takes (said when the disk is full). Raises CorruptData if a file is not what was
    written, OutOfDisk, and whatever `fill` raises; a failed `fill` leaves nothing behind.
    """
    from assay import disk  # here, because disk imports torch

    folder = folder_of(material, part)
    if anew or not folder.is_dir():
        with _alone(folder), disk.room_for(folder, needs):
            if anew or not folder.is_dir():
                disk.publish(folder, lambda empty: _fill_and_sync(empty, fill))
    if problems := disk.check_manifest(folder):
        raise CorruptData(
            problems[0],
            expected=f"{material.name} as it was unpacked",
            do=f"`assay materials --refetch {material.name}` makes it anew.",
        )
    return folder


def discard(material: Material, part: str) -> None:
    """Remove a part, so that its next use makes it anew."""
    folder = folder_of(material, part)
    if folder.exists():
        with _alone(folder):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock beside `folder`; the system lets go of it when the process dies, however it dies."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_name(f"{folder.name}.lock"), "wb")  # noqa: SIM115 (closed below)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise ConfigError(
            f"the cache at {cache_folder()} cannot be used ({error.strerror})",
            expected="a folder that can be written and locked",
            do="Set ASSAY_CACHE to a folder on a local disk.",
        ) from None
    with lock:
        yield


def _fill_and_sync(empty: Path, fill: Callable[[Path], None]) -> None:
    fill(empty)
    for path in empty.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
