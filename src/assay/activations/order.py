"""Which row comes when: pure functions of keys, so that any step is reached at once and no shuffle has state.

In each epoch the shards are visited in a keyed permutation, `window` of them at a time; the rows of a window are permuted with a key;
the epoch is its windows one after another, cut into batches, and an incomplete last batch is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch
import xxhash
from jaxtyping import Int
from torch import Tensor

from assay.errors import StoreError


def key(purpose: str, *numbers: int) -> int:
    """A 63-bit number that belongs to a purpose and its numbers (xxh3-64): the same ones always give the same."""
    return xxhash.xxh3_64_intdigest(" ".join([purpose, *map(str, numbers)]).encode()) >> 1


def permutation(size: int, purpose: str, *numbers: int) -> Int[Tensor, " N"]:
    """0..size-1 in the order that belongs to `key(purpose, *numbers)`."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(key(purpose, *numbers)))


@dataclass(frozen=True)
class Place:
    """Where a row of a batch lies in its store."""

    shard: int
    row: int


@dataclass(frozen=True)
class Stretch:
    """Rows start..stop-1 of a window, counted in its permuted order."""

    epoch: int
    window: int
    start: int
    stop: int


@dataclass(frozen=True)
class Order:
    """The order of the rows of a store whose shard i holds `rows[i]` rows."""

    rows: tuple[int, ...]
    batch_size: int
    seed: int
    window: int

    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch. Raises StoreError when there is none."""
        total = sum(self.rows)
        if not 1 <= self.batch_size <= total:
            raise StoreError(
                f"a batch of {self.batch_size:,} rows was asked of a store of {total:,} rows",
                expected=f"a batch_size from 1 to {total:,}",
                do="Lower batch_size, or harvest more tokens.",
            )
        return total // self.batch_size

    def batch(self, step: int) -> Iterator[Stretch]:
        """Where the rows of a step come from, in order."""
        epoch, index = divmod(step, self.batches_per_epoch())
        return self.stretches(epoch, index * self.batch_size, (index + 1) * self.batch_size)

    def stretches(self, epoch: int, start: int, stop: int) -> Iterator[Stretch]:
        """Where rows start..stop-1 of an epoch come from, in order."""
        begin = 0
        for index, shards in enumerate(self.windows(epoch)):
            end = begin + sum(self.rows[shard] for shard in shards)
            if begin < stop and start < end:
                yield Stretch(epoch, index, max(start, begin) - begin, min(stop, end) - begin)
            begin = end

    def windows(self, epoch: int) -> tuple[tuple[int, ...], ...]:
        """The shards of each window of an epoch."""
        return _windows(len(self.rows), self.window, self.seed, epoch)

    def rows_of_window(self, epoch: int, window: int) -> Int[Tensor, " N"]:
        """The permuted rows of a window; row r of its j-th shard has the number r + (rows of the shards before)."""
        size = sum(self.rows[shard] for shard in self.windows(epoch)[window])
        return permutation(size, "rows", self.seed, epoch, window)

    def place(self, step: int, row: int) -> Place:
        """Where row `row` of the batch of a step lies."""
        if not 0 <= row < self.batch_size:
            raise IndexError(f"row {row} of a batch of {self.batch_size}")
        epoch, index = divmod(step, self.batches_per_epoch())
        start = index * self.batch_size + row
        stretch = next(self.stretches(epoch, start, start + 1))
        shards = self.windows(epoch)[stretch.window]
        number = int(self.rows_of_window(epoch, stretch.window)[stretch.start])
        ends = list(accumulate(self.rows[shard] for shard in shards))
        index = bisect_right(ends, number)
        return Place(shards[index], number - ends[index] + self.rows[shards[index]])


@lru_cache(maxsize=16)
def _windows(shards: int, window: int, seed: int, epoch: int) -> tuple[tuple[int, ...], ...]:
    visits = permutation(shards, "shards", seed, epoch).tolist()
    return tuple(tuple(visits[start : start + window]) for start in range(0, shards, window))
