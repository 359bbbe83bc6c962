"""Model and source in, shards on disk out; stopped anywhere and run again, it ends with the same bytes.

    <folder>/<site>/store.json             what the store holds, written first
    <folder>/<site>/shard-00000.safetensors
    <folder>/<site>/manifest.jsonl         one line a shard, added after the shard is safely on disk

A harvest that is finished does no forward pass. A shard file that is missing or has another size is made again; with `repair` every
byte is read, and whatever is not as it was written is made again, and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from assay import disk
from assay.activations import manifest
from assay.activations.manifest import DTYPES, STORE, Description, Dtype, Line
from assay.activations.plan import plan
from assay.activations.produce import Producer
from assay.activations.shard import Shard, write_shard
from assay.activations.source import Source
from assay.activations.store import ActivationStore
from assay.config import differences
from assay.errors import ConfigError, CorruptData, MissingMaterial, OutOfDisk, StoreError
from assay.lock import writing
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
    repair: bool = False,
) -> dict[str, ActivationStore]:
    """Read exactly `tokens` rows of activations at every site; a store for each site as it was written.

    `identity` says what the model is, beyond its class and size. Rows come from a keyed permutation of the contexts, see `plan`.
    `progress` is told rows done and rows in all, after each batch. `repair` trusts nothing that is there.
    Raises StoreError (too few rows; another harvest is there; somebody is writing there), Diverged (naming document and position),
    OutOfDisk, ConfigError, SiteNotFound, ShapeMismatch, CorruptData.
    """
    if not sites:
        raise ConfigError("no site was named", expected="one or more sites", do='For example sites=["resid_post.6"].')
    located = {str(site): locate(model, site) for site in sites}
    planned = plan(source, tokens=tokens, rows_per_shard=rows_per_shard, seed=seed)
    producer = Producer(model, source, planned, dtype, batch_contexts, identity or {})
    with ExitStack() as held:
        for site in dict.fromkeys(located.values()):
            held.enter_context(writing(Path(folder) / site.slug))
        folders = {
            site: SiteFolder(Path(folder) / site.slug, producer, site, asked, repair) for asked, site in located.items()
        }
        _fill(folders, producer, progress)
        return {name: ActivationStore.open(folders[site].path) for name, site in located.items()}


def _fill(folders: Mapping[Site, SiteFolder], producer: Producer, progress: Callable[[int, int], None] | None) -> None:
    """Make the shards that the folders lack."""
    for place in folders.values():
        place.clean()
    rows = producer.plan.rows
    missing = [index for index in range(len(rows)) if _lacking(folders, index)]
    counter = _Counter(rows, missing, progress)
    if missing:
        widths = producer.widths(list(folders))
        dtype = DTYPES[producer.dtype]
        _check_room(folders, sum(producer.plan.bytes(width, dtype, missing) for width in widths.values()))
        for site, place in folders.items():
            place.begin(widths[site])
    for index in missing:
        for site, shard in producer.shards(index, _lacking(folders, index), counter.tick).items():
            folders[site].add(shard)
        counter.finish(index)


class SiteFolder:
    """The folder of one site while it is filled. Raises StoreError when it holds another harvest, CorruptData."""

    def __init__(self, path: Path, producer: Producer, site: Site, asked: str, repair: bool) -> None:
        self.path, self.producer, self.site, self.asked, self.repair = path, producer, site, asked, repair
        self.lines: dict[int, Line] = {}
        self.description = self._read_description()
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
            read = manifest.sound_lines if self.repair else manifest.read_lines
            lines = read(self.path, self.description)
            self.lines = {index: line for index, line in lines.items() if self._is_there(line)}
            manifest.write_lines(self.path, self.lines, self.description)
        whole = {line.file for line in self.lines.values()}
        for path in self.path.glob("shard-*.safetensors"):
            if path.name not in whole:
                path.unlink()
        disk.remove_leftovers(self.path)

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

    def _read_description(self) -> Description | None:
        """What store.json says; when it is damaged and to be repaired, what it should say."""
        if not (self.path / STORE).exists() and not self.repair:
            return None
        try:
            return manifest.read_description(self.path)
        except (CorruptData, MissingMaterial):
            if not self.repair:
                raise
        wanted = self._wanted(self.producer.widths([self.site])[self.site])
        manifest.write_description(self.path, wanted)
        return wanted

    def _wanted(self, width: int) -> Description:
        return self.producer.describe(self.site, self.asked, width)

    def _is_there(self, line: Line) -> bool:
        path = self.path / line.file
        same = path.is_file() and path.stat().st_size == line.bytes
        return same and (not self.repair or disk.hash_file(path) == line.xxh3_128)

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


def _check_room(folders: Mapping[Site, SiteFolder], size: int) -> None:
    there = next(iter(folders.values())).path.parent
    if (free := shutil.disk_usage(there).free) < size * ROOM:
        raise OutOfDisk(
            f"{free:,} bytes are free under {there}",
            expected=f"{round(size * ROOM):,} for the shards of this harvest",
            do="Free some space, harvest fewer tokens or sites, or train from a live store, which needs no disk.",
        )
