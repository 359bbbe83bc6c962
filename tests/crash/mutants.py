"""Faults put into the package on purpose, one at a time, to see that the harness would notice them."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from assay import disk, lock
from assay.activations import order, store
from assay.training import checkpoint, keeper
from assay.training.optimizer import UnitNormAdam


def moment_not_restored() -> None:
    """Adam's second moment begins anew after a resume."""
    real = UnitNormAdam.restore

    def restore(self: UnitNormAdam, state: Any) -> None:
        real(self, {name: torch.zeros_like(t) if name.startswith("square.") else t for name, t in state.items()})

    UnitNormAdam.restore = restore


def log_not_truncated() -> None:
    """The progress log keeps the lines after the checkpoint that training goes on from."""
    keeper.os = _like(os, truncate=lambda path, size: None)  # pyright: ignore


def prune_skipped() -> None:
    """A resume leaves older checkpoints alone."""
    real, prune = keeper.Keeper.resume, checkpoint.prune

    def resume(self: keeper.Keeper) -> int:
        checkpoint.prune = lambda *_, **__: None
        try:
            return real(self)
        finally:
            checkpoint.prune = prune

    keeper.Keeper.resume = resume


def sync_dropped() -> None:
    """Files are renamed into place without being synced."""
    disk.os = _like(os, fsync=lambda descriptor: None)  # pyright: ignore


def shuffle_with_state() -> None:
    """The order comes from a generator that goes on from call to call."""
    generator = torch.Generator().manual_seed(0)
    order.permutation = lambda size, *_: torch.randperm(size, generator=generator)


def hash_unchecked() -> None:
    """A shard's hash is taken for granted."""
    store._problems_of_shard = lambda *_: []


def lock_ignored() -> None:
    """Every writer believes to be the only one."""
    lock._locked = lambda descriptor: True


def leftovers_kept() -> None:
    """Nobody removes what a killed writer left half written."""
    disk.remove_leftovers = lambda folder, name="*": None


def checkpoint_in_place() -> None:
    """A folder is filled where it stands."""

    def publish(folder: Any, fill: Callable[[Any], None]) -> None:
        disk.make_folder(folder)
        fill(folder)
        files = sorted(path for path in folder.iterdir() if path.name != disk.MANIFEST)
        sizes = {path.name: {"bytes": path.stat().st_size, "xxh3_128": disk.hash_file(path)} for path in files}
        disk.write_json(folder / disk.MANIFEST, sizes)

    disk.publish = publish


def settings_in_place() -> None:
    """Records are written straight over the old ones."""

    def write(path: Any, data: bytes | disk.Blocks) -> None:
        disk.make_folder(path.parent)
        with open(path, "wb") as file:
            for block in [data] if isinstance(data, bytes) else data:
                file.write(block)

    disk.write = write


def _like(module: Any, **changed: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: getattr(module, name) for name in dir(module)} | changed)


MUTANTS: dict[str, tuple[Callable[[], None], str]] = {
    "moment not restored": (moment_not_restored, "kill train"),
    "log not truncated": (log_not_truncated, "kill train"),
    "prune skipped": (prune_skipped, "kill train"),
    "fsync dropped": (sync_dropped, "zero harvest"),
    "stateful shuffle": (shuffle_with_state, "kill train"),
    "hash unchecked": (hash_unchecked, "corrupt"),
    "lock ignored": (lock_ignored, "two writers"),
    "temp file left": (leftovers_kept, "kill harvest"),
    "checkpoint in place": (checkpoint_in_place, "kill train"),
    "records written in place": (settings_in_place, "kill evaluate"),
}
"""By name: the fault, and the trials that must notice it."""
