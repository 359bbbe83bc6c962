"""Model and source in, shards on disk out; stopped anywhere and run again, it ends with the same bytes.

    <folder>/<site>/store.json             what the store holds, written first
    <folder>/<site>/shard-00000.safetensors
    <folder>/<site>/manifest.jsonl         one line a shard, added after the shard is safely on disk

A harvest that is finished does no forward pass. A shard file that is missing or has another size is made again; with `repair` every
byte is read, and whatever is not as it was written is made again, and nothing else. Workers share a harvest without knowing of each
other, see `share`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from assay.activations import manifest
from assay.activations.manifest import DTYPES, STORE, Description, Dtype, Line
from assay.activations.plan import plan
from assay.activations.produce import Producer
from assay.activations.shard import Shard, write_shard
from assay.activations.share import Share, Worker, merge, present, tidy
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
    worker: tuple[int, int] | Share | None = None,
    progress: Callable[[int, int], None] | None = None,
    repair: bool = False,
) -> dict[str, ActivationStore]:
    """Read exactly `tokens` rows of activations at every site; a store for each site as it was written.

    `identity` says what the model is, beyond its class and size. Rows come from a keyed permutation of the contexts, see `plan`.
    `progress` is told rows done and rows in all, after each batch. `repair` trusts nothing that is there.
    With `worker` (index from 0, count) only shards index, index + count ... are made, beside other workers that run anywhere at any
    time; returned are the stores that are complete by then. Without it everything that is missing is made and the workers' manifests
    are merged: run it so when no worker is at work any more.
    Raises StoreError (too few rows; another harvest is there; somebody is writing there), Diverged (naming document and position),
    OutOfDisk, ConfigError, SiteNotFound, ShapeMismatch, CorruptData.
    """
    if not sites:
        raise ConfigError("no site was named", expected="one or more sites", do='For example sites=["resid_post.6"].')
    share = Worker.of(*worker) if isinstance(worker, tuple) else worker
    if share and repair:
        raise ConfigError("a worker that repairs", expected="one process alone", do="Leave out `worker`.")
    located = {str(site): locate(model, site) for site in sites}
    planned = plan(source, tokens=tokens, rows_per_shard=rows_per_shard, seed=seed)
    producer = Producer(model, source, planned, dtype, batch_contexts, identity or {})
    label = share.label if share else None
    with ExitStack() as held:
        if share is None:
            for site in dict.fromkeys(located.values()):
                held.enter_context(writing(Path(folder) / site.slug))
        folders = {
            site: SiteFolder(Path(folder) / site.slug, producer, site, asked, repair, label)
            for asked, site in located.items()
        }
        _fill(folders, producer, share, progress)
        ready = {name: folders[site].path for name, site in located.items() if not share or folders[site].is_complete()}
        return {name: ActivationStore.open(path) for name, path in ready.items()}


def _fill(
    folders: Mapping[Site, SiteFolder],
    producer: Producer,
    share: Share | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Make the shards that the folders lack, or those of a share of them."""
    for place in folders.values():
        place.take_over()
    rows = {index: rows for index, rows in enumerate(producer.plan.rows) if share is None or share.takes(index)}
    missing = [index for index in rows if _lacking(folders, index)]
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
    """The folder of one site while it is filled, by a process alone or, with a `label`, by one of several.

    Raises StoreError when it holds another harvest, CorruptData.
    """

    def __init__(self, path: Path, producer: Producer, site: Site, asked: str, repair: bool, label: str | None) -> None:
        self.path, self.producer, self.site, self.asked = path, producer, site, asked
        self.repair, self.label = repair, label
        self.manifest: str | None = None
        self.stamp: tuple[int, int, int] | None = None
        self.lines: dict[int, Line] = {}
        # Another worker may begin the store at any moment, its store.json before its shards: so shards are looked for first.
        any_shards = any(path.glob("shard-*.safetensors"))
        self.description = self._described()
        if any_shards and not self.description:
            raise StoreError(f"{path} holds shards without {STORE}", expected="both or none", do=ELSEWHERE)

    def take_over(self) -> None:
        """Know the shards that are whole. A process alone also merges the manifests and removes what crashes left."""
        if self.label is not None:
            self.lines = present(self.path, self.description) if self.description else {}
        elif not self.description:
            tidy(self.path, {})
        else:
            if self.description.asked != self.asked:
                self.description = self._wanted(self.description.width)
                manifest.write_description(self.path, self.description)
            self.lines = merge(self.path, self.description, repair=self.repair)

    def begin(self, width: int) -> None:
        """Say what the store will hold, unless that was said; what was said must be so."""
        wanted = self._wanted(width)
        if found := self._described():
            self._check_same(found, wanted)
        else:
            manifest.write_description(self.path, wanted)
        self.description = wanted

    def add(self, shard: Shard) -> None:
        """Write a shard, then its line."""
        assert self.description is not None
        if self.label is not None:
            self._add_among_others(shard, self.label)
            return
        line = write_shard(self.path, shard)
        self.lines[line.index] = line
        if line.index == max(self.lines):
            manifest.append_line(self.path, line, self.description)
        else:
            manifest.write_lines(self.path, self.lines, self.description)

    def _add_among_others(self, shard: Shard, label: str) -> None:
        assert self.description is not None
        if (stamp := _stamp(self.path / STORE)) != self.stamp or stamp is None:
            self._check_same(manifest.read_description(self.path), self.description)
            self.stamp = stamp
        try:
            line = write_shard(self.path, shard)
        except FileNotFoundError:
            raise StoreError(
                f"a harvest without a worker tidied {self.path} while shard {shard.index} was being written",
                expected="workers to end before it begins",
                do="Nothing is lost: run that harvest again.",
            ) from None
        self.lines[line.index] = line
        self.manifest = self.manifest or manifest.begin_shared(self.path, label)
        manifest.append_line(self.path, line, self.description, self.manifest)

    def is_complete(self) -> bool:
        """Whether all shards are there, whoever made them."""
        described = self._described()
        return described is not None and len(present(self.path, described)) == len(described.shards)

    def _described(self) -> Description | None:
        """What store.json says, which must be of this harvest; when it is damaged and to be repaired, what it should say."""
        if not (self.path / STORE).exists() and not self.repair:
            return None
        try:
            found = manifest.read_description(self.path)
        except (CorruptData, MissingMaterial):
            if not self.repair:
                raise
            found = self._wanted(self.producer.widths([self.site])[self.site])
            manifest.write_description(self.path, found)
        self._check_same(found, self._wanted(found.width))
        return found

    def _wanted(self, width: int) -> Description:
        return self.producer.describe(self.site, self.asked, width)

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

    def __init__(self, rows: Mapping[int, int], missing: list[int], tell: Callable[[int, int], None] | None) -> None:
        self.rows, self.tell = rows, tell
        self.done = sum(rows.values()) - sum(rows[index] for index in missing)
        self.tick(0)

    def tick(self, rows: int) -> None:
        """So many rows of the current shard are done."""
        if self.tell:
            self.tell(self.done + rows, sum(self.rows.values()))

    def finish(self, index: int) -> None:
        """A shard is done."""
        self.done += self.rows[index]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written; None when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _lacking(folders: Mapping[Site, SiteFolder], index: int) -> list[Site]:
    return [site for site, place in folders.items() if index not in place.lines]


def _check_room(folders: Mapping[Site, SiteFolder], size: int) -> None:
    folder = next(iter(folders.values())).path.absolute()
    there = next(path for path in folder.parents if path.exists())
    if (free := shutil.disk_usage(there).free) < size * ROOM:
        raise OutOfDisk(
            f"{free:,} bytes are free under {there}",
            expected=f"{round(size * ROOM):,} for the shards of this harvest",
            do="Free some space, harvest fewer tokens or sites, or train from a live store, which needs no disk.",
        )
