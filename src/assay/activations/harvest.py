"""Model and source in, shards on disk out; stopped anywhere and run again, it ends with the same bytes.

    <folder>/<site>/store.json             what the store holds, written first
    <folder>/<site>/shard-00000.safetensors
    <folder>/<site>/manifest.jsonl         one line a shard, added after the shard is safely on disk

A harvest that is finished does no forward pass. A shard file that is missing or has another size is made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from assay.activations import manifest
from assay.activations.manifest import DTYPES, STORE, Description, Dtype, Line
from assay.activations.plan import plan
from assay.activations.produce import Producer
from assay.activations.shard import Shard, write_shard
from assay.activations.source import Source
from assay.activations.store import ActivationStore
from assay.config import differences
from assay.errors import ConfigError, OutOfDisk, StoreError
from assay.sites import Site, locate

ELSEWHERE = "Harvest into another folder, or delete this one."
ROOM = 1.1
"""Free space asked for before starting, as a multiple of what the shards take."""


def harvest(
    model: nn.Module,
    source: Source,
    sites: Sequence[str | Site],
    folder: Path | str,
    *,
    tokens: int,
    rows_per_shard: int = 65_536,
    batch_contexts: int = 16,
    dtype: Dtype = "float16",
    seed: int = 0,
    identity: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, ActivationStore]:
    """Read exactly `tokens` rows of activations at every site; a store for each site as it was written.

    `identity` says what the model is, beyond its class and size. Rows come from a keyed permutation of the contexts, see `plan`.
    `progress` is told rows done and rows in all, after each batch.
    Raises StoreError (too few rows; the folder holds another harvest), Diverged (naming document and position), OutOfDisk,
    ConfigError, SiteNotFound, ShapeMismatch, CorruptData.
    """
    if not sites:
        raise ConfigError("no site was named", expected="one or more sites", do='For example sites=["resid_post.6"].')
    located = {str(site): locate(model, site) for site in sites}
    planned = plan(source, tokens=tokens, rows_per_shard=rows_per_shard, seed=seed)
    producer = Producer(model, source, planned, dtype, batch_contexts, identity or {})
    folders = {site: SiteFolder(Path(folder) / site.slug, producer, site, asked) for asked, site in located.items()}
    for place in folders.values():
        place.clean()
    missing = [index for index in range(len(planned.rows)) if _lacking(folders, index)]
    counter = _Counter(planned.rows, missing, progress)
    if missing:
        widths = producer.widths(list(folders))
        _check_room(Path(folder), sum(planned.bytes(width, DTYPES[dtype], missing) for width in widths.values()))
        for site, place in folders.items():
            place.begin(widths[site])
    for index in missing:
        for site, shard in producer.shards(index, _lacking(folders, index), counter.tick).items():
            folders[site].add(shard)
        counter.finish(index)
    return {name: ActivationStore.open(folders[site].path) for name, site in located.items()}


class SiteFolder:
    """The folder of one site while it is filled. Raises StoreError when it holds another harvest, CorruptData."""

    def __init__(self, path: Path, producer: Producer, site: Site, asked: str) -> None:
        self.path, self.producer, self.site, self.asked = path, producer, site, asked
        self.lines: dict[int, Line] = {}
        self.description = manifest.read_description(path) if (path / STORE).exists() else None
        if self.description:
            self._check_same(self.description, self._wanted(self.description.width))
        elif any(path.glob("shard-*.safetensors")):
            raise StoreError(f"{path} holds shards without {STORE}", expected="both or none", do=ELSEWHERE)

    def clean(self) -> None:
        """Take over the shards that are whole, and remove what a crash left."""
        if self.description:
            if self.description.asked != self.asked:
                self.description = self._wanted(self.description.width)
                manifest.write_description(self.path, self.description)
            lines = manifest.read_lines(self.path, self.description)
            self.lines = {index: line for index, line in lines.items() if self._is_there(line)}
            manifest.write_lines(self.path, self.lines, self.description)
        whole = {line.file for line in self.lines.values()}
        for path in [*self.path.glob("shard-*.safetensors"), *self.path.glob("*.part*")]:
            if path.name not in whole:
                path.unlink()

    def begin(self, width: int) -> None:
        """Say what the store will hold, unless that was said; what was said must be so."""
        wanted = self._wanted(width)
        if self.description:
            self._check_same(self.description, wanted)
        else:
            manifest.write_description(self.path, wanted)
        self.description = wanted

    def add(self, shard: Shard) -> None:
        """Write a shard, then its line."""
        assert self.description is not None
        line = write_shard(self.path, shard)
        self.lines[line.index] = line
        if line.index == max(self.lines):
            manifest.append_line(self.path, line, self.description)
        else:
            manifest.write_lines(self.path, self.lines, self.description)

    def _wanted(self, width: int) -> Description:
        return self.producer.describe(self.site, self.asked, width)

    def _is_there(self, line: Line) -> bool:
        path = self.path / line.file
        return path.is_file() and path.stat().st_size == line.bytes

    def _check_same(self, found: Description, wanted: Description) -> None:
        if found.key != wanted.key:
            changed = differences(found.identity(), wanted.identity()) or "the shards are divided otherwise"
            raise StoreError(
                f"{self.path} holds another harvest ({changed})",
                expected="the same model, source and settings",
                do=ELSEWHERE,
            )


class _Counter:
    """Which shards are missing, and how far the harvest is."""

    def __init__(self, rows: tuple[int, ...], missing: list[int], tell: Callable[[int, int], None] | None) -> None:
        self.rows, self.tell = rows, tell
        self.done = sum(rows) - sum(rows[index] for index in missing)
        self.tick(0)

    def tick(self, rows: int) -> None:
        """So many rows of the current shard are done."""
        if self.tell:
            self.tell(self.done + rows, sum(self.rows))

    def finish(self, index: int) -> None:
        """A shard is done."""
        self.done += self.rows[index]


def _lacking(folders: Mapping[Site, SiteFolder], index: int) -> list[Site]:
    return [site for site, place in folders.items() if index not in place.lines]


def _check_room(folder: Path, size: int) -> None:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < size * ROOM:
        raise OutOfDisk(
            f"{free:,} bytes are free under {there}",
            expected=f"{round(size * ROOM):,} for the shards of this harvest",
            do="Free some space, harvest fewer tokens or sites, or train from a live store, which needs no disk.",
        )
