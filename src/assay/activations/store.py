"""Activations in an order that is a pure function of (seed, step): training goes on from one integer, wherever it stopped.

The same type serves shards on disk, shards that a model makes when they are needed, and tensors in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay import disk
from assay.activations.contexts import Contexts
from assay.activations.manifest import (
    MANIFEST,
    STORE,
    Description,
    Dtype,
    Line,
    examine_lines,
    read_description,
    shard_file,
    shared_manifests,
)
from assay.activations.order import Order, Place, Stretch
from assay.activations.plan import plan
from assay.activations.produce import Producer
from assay.activations.providers import InMemory, Joined, Live, Moments, OnDisk, Provider
from assay.activations.shard import Shard, check_header
from assay.activations.share import remedy
from assay.activations.source import Source
from assay.errors import AssayError, ConfigError, CorruptData, StoreError
from assay.lock import LOCK
from assay.sites import Site, locate


class ActivationStore:
    """Activations [N D] of a site, or of several side by side, as batches [B D] in a keyed order that visits every row once an epoch.

    `seed` and `window` (shards mixed at a time) decide about the order, see `Order`. Made by `open`, `join`, `live`, `contexts` or `of`.
    """

    def __init__(self, provider: Provider, *, batch_size: int = 2048, seed: int = 0, window: int = 8) -> None:
        if window < 1:
            raise ConfigError(f"window is {window}", expected="1 shard or more", do="8 mixes well.")
        self.batch_size, self.seed, self.window = batch_size, seed, window
        self._provider = provider
        self._order = Order(provider.rows, batch_size, seed, window)
        self._latest: _Window | None = None

    @classmethod
    def open(cls, folder: Path | str, *, batch_size: int = 2048, seed: int = 0, window: int = 8) -> ActivationStore:
        """The store of one site that `harvest` wrote. Raises StoreError, CorruptData."""
        return cls(OnDisk(Path(folder)), batch_size=batch_size, seed=seed, window=window)

    @classmethod
    def join(
        cls, folders: Sequence[Path | str], *, batch_size: int = 2048, seed: int = 0, window: int = 8
    ) -> ActivationStore:
        """The stores of several sites, or of several models that were shown one source: rows [N D1 + D2 + ...], in each one's order.

        Raises StoreError when their rows are not of the same tokens, CorruptData.
        """
        provider = Joined([OnDisk(Path(folder)) for folder in folders])
        return cls(provider, batch_size=batch_size, seed=seed, window=window)

    @classmethod
    def live(
        cls,
        model: nn.Module,
        source: Source,
        site: str | Site,
        *,
        tokens: int,
        rows_per_shard: int = 65_536,
        batch_contexts: int = 16,
        dtype: Dtype = "float16",
        harvest_seed: int = 0,
        identity: Mapping[str, Any] | None = None,
        batch_size: int = 2048,
        seed: int = 0,
        window: int = 8,
    ) -> ActivationStore:
        """The store that `harvest` with the same arguments (its seed is `harvest_seed`) would write, without a disk.

        The model runs whenever a window of shards is needed, in every epoch anew; each iterator holds one window in memory.
        Raises StoreError, ConfigError, SiteNotFound, ShapeMismatch, Diverged.
        """
        planned = plan(source, tokens=tokens, rows_per_shard=rows_per_shard, seed=harvest_seed)
        producer = Producer(model, source, planned, dtype, batch_contexts, identity or {})
        located = locate(model, site)
        return cls(Live(producer, located), batch_size=batch_size, seed=seed, window=window)

    @classmethod
    def contexts(
        cls,
        model: nn.Module,
        source: Source,
        site: str | Site,
        *,
        contexts: int = 8,
        harvest_seed: int = 0,
        identity: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> ActivationStore:
        """Batches of so many whole contexts, run live, for whose reconstructions `downstream` asks the model.

        Which contexts share a batch is decided by `harvest_seed`, the order of the batches and of the rows in each by `seed`.
        Raises StoreError, ConfigError, SiteNotFound, ShapeMismatch.
        """
        provider = Contexts(model, source, locate(model, site), contexts, harvest_seed, identity or {})
        return cls(provider, batch_size=provider.rows[0], seed=seed, window=1)

    @classmethod
    def of(
        cls,
        shards: Float[Tensor, "N D"] | Sequence[Float[Tensor, "_ _"]],
        *,
        batch_size: int = 2048,
        seed: int = 0,
        window: int = 8,
    ) -> ActivationStore:
        """A tensor of activations, or several as shards. Raises ShapeMismatch."""
        tensors = [shards] if isinstance(shards, Tensor) else list(shards)
        return cls(InMemory(tensors), batch_size=batch_size, seed=seed, window=window)

    @property
    def width(self) -> int:
        """Width D of the rows."""
        return sum(self.parts)

    @property
    def parts(self) -> tuple[int, ...]:
        """Widths of the sites whose activations stand side by side in a row."""
        return self._provider.parts

    @property
    def rows(self) -> int:
        """Activations in the store."""
        return sum(self._provider.rows)

    @property
    def identity(self) -> dict[str, Any]:
        """What the activations are, ready for JSON; the same on disk and live."""
        return self._provider.identity

    def batches(self, start: int = 0) -> Iterator[Float[Tensor, "B D"]]:
        """float32 batches from step `start` on, without end; any start is reached at once. Raises StoreError, CorruptData."""
        self._order.batches_per_epoch()
        return self._batches(start)

    def sample(self, rows: int) -> Float[Tensor, "N D"]:
        """The first rows of the first epoch: a fixed random sample, in float32. Raises StoreError."""
        if not 1 <= rows <= self.rows:
            raise StoreError(
                f"a sample of {rows:,} rows", expected=f"1 to {self.rows:,}", do="Ask for fewer, or harvest more."
            )
        return _Reader(self._open_window).rows(self._order.stretches(0, 0, rows))

    def downstream(self, step: int) -> Callable[[Tensor], Tensor] | None:
        """KL of the model's predictions with raw reconstructions in place of the rows of a batch; None where no model is at hand."""
        if not isinstance(self._provider, Contexts):
            return None
        (stretch,) = self._order.batch(step)
        (shard,) = self._order.windows(stretch.epoch)[stretch.window]
        return self._provider.downstream(shard, self._order.rows_of_window(stretch.epoch, stretch.window))

    def locate(self, step: int, row: int) -> Place:
        """Where row `row` of the batch of a step lies."""
        return self._order.place(step, row)

    def shards(self) -> Iterator[Shard]:
        """All shards by index, with the origins of their rows."""
        return (self._provider.shard(index) for index in range(len(self._provider.rows)))

    def mean(self) -> Float[Tensor, " D"]:
        """Mean of all rows, in float32."""
        return self.moments().mean.float()

    def moments(self) -> Moments:
        """Exact moments of all rows; a live store runs its model over everything, once."""
        return self._moments

    @cached_property
    def _moments(self) -> Moments:
        return self._provider.moments()

    def _batches(self, start: int) -> Iterator[Float[Tensor, "B D"]]:
        reader = _Reader(self._open_window)
        for step in count(start):
            yield reader.rows(self._order.batch(step))

    def _open_window(self, epoch: int, number: int) -> _Window:
        """A window; shards that are in the one opened before are taken from it, and not read or made again."""
        if self._latest is None or self._latest.name != (epoch, number):
            wanted = self._order.windows(epoch)[number]
            at_hand = (
                {shard.index: shard for shard in self._latest.shards if shard.index in wanted} if self._latest else {}
            )
            self._latest = None
            shards = [at_hand.get(index) or self._provider.shard(index) for index in wanted]
            self._latest = _Window((epoch, number), shards, self._order.rows_of_window(epoch, number))
        return self._latest


class _Reader:
    """Reads stretches one after another through one window at a time."""

    def __init__(self, open_window: Callable[[int, int], _Window]) -> None:
        self.open_window = open_window
        self.window: _Window | None = None

    def rows(self, stretches: Iterable[Stretch]) -> Float[Tensor, "N D"]:
        """The rows of some stretches, in order, in float32."""
        parts = []
        for stretch in stretches:
            if self.window is None or self.window.name != (stretch.epoch, stretch.window):
                self.window = None
                self.window = self.open_window(stretch.epoch, stretch.window)
            parts.append(self.window.rows(stretch.start, stretch.stop))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Window:
    """The rows of some shards in a permuted order."""

    def __init__(self, name: tuple[int, int], shards: list[Shard], order: Int[Tensor, " N"]) -> None:
        self.name, self.shards, self.order = name, shards, order
        self.ends = torch.tensor([len(shard.activations) for shard in shards]).cumsum(0)

    def rows(self, start: int, stop: int) -> Float[Tensor, "N D"]:
        """Rows start..stop-1 in float32. Each shard is read in the order of the file, which is kind to a disk."""
        numbers, places = self.order[start:stop].sort()
        rows = torch.empty(len(numbers), self.shards[0].activations.shape[1])
        counts = torch.bincount(torch.bucketize(numbers, self.ends, right=True), minlength=len(self.shards)).tolist()
        first = 0
        for shard, chosen, place in zip(self.shards, numbers.split(counts), places.split(counts), strict=True):
            rows.index_copy_(0, place, shard.activations.index_select(0, chosen - first).float())
            first += len(shard.activations)
        return rows


def verify_store(folder: Path | str) -> list[str]:
    """What is wrong with a store on disk, in sentences; an empty list when everything is as it was written.

    Finds files that are missing, truncated, altered, swapped, copied over one another, left over or foreign, lines of the manifest
    that are missing, altered or doubled, and a store.json that is damaged or of another harvest. Reads every file.
    """
    folder = Path(folder)
    try:
        description = read_description(folder)
        lines, problems = examine_lines(folder, description)
    except AssayError as error:
        return [error.got]
    by_hash = {line.xxh3_128: line for line in lines.values()}
    for index in sorted(lines):
        problems += _problems_of_shard(folder, lines[index], by_hash, description)
    missing = [index for index in range(len(description.shards)) if index not in lines]
    workers = shared_manifests(folder)
    if missing and workers:
        held = f"{len(lines)} of {len(description.shards)} shards; {len(missing)} lack"
        problems.append(f"{folder} holds {held}. {remedy(folder, missing)}")
    else:
        problems += [
            f"{folder / MANIFEST} has no line for {shard_file(index)}: the harvest did not finish, or the line was lost"
            for index in missing
        ]
    known = {shard_file(index) for index in range(len(description.shards))} | {STORE, MANIFEST, LOCK}
    known |= {path.name for path in workers}
    strangers = sorted(path for path in folder.iterdir() if path.name not in known)
    return problems + [f"{path} does not belong to the store" for path in strangers]


def _problems_of_shard(folder: Path, line: Line, by_hash: dict[str, Line], description: Description) -> list[str]:
    path = folder / line.file
    try:
        check_header(path, line, description)
    except CorruptData as error:
        return [error.got]
    found = disk.hash_file(path)
    if found == line.xxh3_128:
        return []
    if found in by_hash:
        return [f"{path} holds what was written as {by_hash[found].file}"]
    return [f"{path} is not the file that was written (its hash differs)"]
