"""Several processes, one harvest: each makes its share of the shards of the one plan, on any machine that sees the folder.

Nobody hands out work and nobody waits: which shards are a worker's is arithmetic. A worker adds to a manifest of its own, puts shards
in place whole, and removes nothing, so any number may run, die, and be started again, even twice at once or with another count. Whoever
makes a shard makes the same bytes, on processors of one kind. When all shards are there the store can be used; a harvest by one
process alone merges the manifests, and then the folder is as if that process had done everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from assay import disk
from assay.activations import manifest
from assay.activations.manifest import Description, Line
from assay.errors import ConfigError

NAMED = 8
"""Workers that a message names one by one."""


@runtime_checkable
class Share(Protocol):
    """Which shards a process makes."""

    @property
    def label(self) -> str:
        """In the name of its manifest: lower-case letters and digits."""
        ...

    def takes(self, shard: int) -> bool: ...


class Worker(NamedTuple):
    """One of `count` processes: it makes the shards index, index + count, index + 2 count ... Written "2/8", counted from 1."""

    index: int
    """From 0 to count - 1."""
    count: int

    @classmethod
    def of(cls, index: int, count: int) -> Worker:
        """A worker that can be. Raises ConfigError."""
        if not 0 <= index < count:
            raise ConfigError(
                f"worker {index + 1} of {count}",
                expected="one of 1/N to N/N (in Python, index 0 to N - 1)",
                do="Name one of them.",
            )
        return cls(index, count)

    @classmethod
    def parse(cls, text: str) -> Worker:
        """Read "2/8", the second of eight. Raises ConfigError."""
        if not (found := re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())):
            raise ConfigError(
                f"the worker is {text!r}", expected="a number and how many there are, such as 2/8", do="Correct it."
            )
        return cls.of(int(found[1]) - 1, int(found[2]))

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    @property
    def label(self) -> str:
        return f"{self.index + 1}of{self.count}"

    def takes(self, shard: int) -> bool:
        return shard % self.count == self.index


@dataclass(frozen=True)
class Chosen:
    """Shards that somebody else hands out."""

    label: str
    shards: frozenset[int]

    def takes(self, shard: int) -> bool:
        return shard in self.shards


def present(folder: Path, description: Description, *, repair: bool = False) -> dict[int, Line]:
    """The lines of all manifests whose shards are there at full length. Raises CorruptData.

    `repair` leaves damaged lines out instead, and shards whose bytes are not those of their line.
    """
    read = manifest.sound_lines if repair else manifest.read_lines
    lines = read(folder, description)
    return {index: line for index, line in lines.items() if _is_there(folder / line.file, line, repair)}


def merge(folder: Path, description: Description, *, repair: bool = False) -> dict[int, Line]:
    """`present`, written as the one manifest; then everything that no line of it names is removed. For a process that is alone."""
    lines = present(folder, description, repair=repair)
    manifest.write_lines(folder, lines, description)
    tidy(folder, lines)
    return lines


def tidy(folder: Path, lines: Mapping[int, Line]) -> None:
    """Remove manifests of workers, shards without a line, and what killed writers left."""
    whole = {line.file for line in lines.values()}
    shards = [path for path in folder.glob("shard-*.safetensors") if path.name not in whole]
    for path in [*shards, *manifest.shared_manifests(folder)]:
        path.unlink(missing_ok=True)
    disk.remove_leftovers(folder)


def remedy(folder: Path, missing: Iterable[int]) -> str:
    """How the missing shards of a store come to be: by the workers whose they are, or by the harvest as a whole."""
    labels = [path.name.split(".")[1] for path in manifest.shared_manifests(folder)]
    counts = sorted({int(found[1]) for label in labels if (found := re.fullmatch(r"\d+of([1-9]\d*)", label))})
    if not counts:
        return "Run the same harvest again; it goes on where it stopped."
    shards = list(missing)
    named = " or ".join(_workers(shards, count) for count in counts)
    return f"Start {named} again, or run the same harvest without a worker, which makes them all."


def _workers(shards: list[int], count: int) -> str:
    wanted = sorted({shard % count for shard in shards})
    names = [str(Worker(index, count)) for index in wanted[:NAMED]]
    more = f" and {len(wanted) - NAMED} more" if len(wanted) > NAMED else ""
    return f"worker{'s' if len(wanted) > 1 else ''} {', '.join(names)}{more}"


def _is_there(path: Path, line: Line, repair: bool) -> bool:
    same = path.is_file() and path.stat().st_size == line.bytes
    return same and (not repair or disk.hash_file(path) == line.xxh3_128)
