"""Where each latent fires: its strongest firings, a fair sample of all of them, and how often it fires.

Top firings alone flatter a latent; the sample is uniform over its firings and is shown by quantile. One pass over the store, in memory
that does not grow with it: the pool is pruned to what could still be wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.activations.store import ActivationStore
from assay.dictionary import Dictionary
from assay.errors import StoreError

POOL = 4_000_000
"""Firings held before the pool is pruned."""
POOL_BYTES = 2 * 36 + 49
"""Bytes that each of them takes then: it is in the pool and in the one before, and pruning sorts twice."""
CHUNK = 8192
"""Rows that are encoded at once."""


@dataclass(frozen=True)
class Firing:
    """A latent firing at one token."""

    document: int
    position: int
    value: float
    """Value of the code, in scaled units."""


@dataclass(frozen=True)
class LatentFirings:
    """What was seen of one latent."""

    latent: int
    density: float
    """Share of rows on which it fires."""
    maximum: float
    """Its largest value."""
    top: tuple[Firing, ...]
    """Strongest first, at most one a document."""
    sample: tuple[Firing, ...]
    """Uniform over all its firings, weakest first."""


@dataclass(frozen=True, eq=False)
class Firings:
    """What was seen of every latent in `rows` rows."""

    rows: int
    counts: Int[Tensor, " L"]
    energy: Float[Tensor, " L"]
    """Sum of squared values."""
    maximum: Float[Tensor, " L"]
    _pool: _Pool

    def density(self) -> Float[Tensor, " L"]:
        """Share of rows on which each latent fires."""
        return self.counts / self.rows

    def of(self, latent: int) -> LatentFirings:
        """The firings that were kept of one latent."""
        top, sample = self._pool.of(latent)
        return LatentFirings(
            latent, float(self.counts[latent]) / self.rows, float(self.maximum[latent]), tuple(top), tuple(sample)
        )

    def telling(self, count: int, rarest: float = 1e-4, commonest: float = 0.005) -> list[int]:
        """The latents that carry the most energy sum f^2, of those that fire on 0.01 % to 0.5 % of rows.

        Where most latents fire more often than that, the limit is the median density instead.
        """
        density = self.density()
        alive = density[density > 0]
        limit = max(commonest, float(alive.median())) if len(alive) else commonest
        eligible = (density >= rarest) & (density <= limit)
        energy = torch.where(eligible, self.energy, 0)
        return energy.topk(min(count, int(eligible.sum()))).indices.tolist()


@torch.no_grad()
def find_firings(
    dictionary: Dictionary, store: ActivationStore, *, top: int = 8, sample: int = 40, seed: int = 0
) -> Firings:
    """Encode every row of a store once. Keeps the `top` strongest firings a latent and a uniform sample of `sample` of them."""
    width = dictionary.config.width
    counts = torch.zeros(width, dtype=torch.int64)
    energy, maximum = torch.zeros(width, dtype=torch.float64), torch.zeros(width)
    pool = _Pool.empty(keep_top=4 * top, top=top, sample=sample)
    rows = 0
    for activations, origin in _chunks(store):
        read, _ = dictionary.pair(activations.float())
        of_row, latents, values = (part.cpu() for part in dictionary.encode(read).entries())
        counts += torch.bincount(latents, minlength=width)
        energy.index_add_(0, latents, values.double().square())
        maximum.scatter_reduce_(0, latents, values, "amax")
        places = origin[of_row].numpy().astype(np.int64)
        pool = pool.with_firings(latents.numpy(), values.numpy(), places, seed)
        rows += len(activations)
    return Firings(rows, counts, energy, maximum, pool.pruned())


def _chunks(store: ActivationStore) -> Iterator[tuple[Tensor, Tensor]]:
    for shard in store.shards():
        yield from zip(shard.activations.split(CHUNK), shard.origin.split(CHUNK), strict=True)


@dataclass(frozen=True, eq=False)
class _Pool:
    """Candidate firings of all latents; `priority` is a keyed random number, the same whatever the order of the data."""

    latent: np.ndarray
    value: np.ndarray
    place: np.ndarray
    priority: np.ndarray
    keep_top: int
    top: int
    sample: int

    @classmethod
    def empty(cls, keep_top: int, top: int, sample: int) -> _Pool:
        return cls(
            np.empty(0, np.int64),
            np.empty(0, np.float32),
            np.empty((0, 2), np.int64),
            np.empty(0, np.uint64),
            keep_top,
            top,
            sample,
        )

    def with_firings(self, latent: np.ndarray, value: np.ndarray, place: np.ndarray, seed: int) -> _Pool:
        pool = _Pool(
            np.concatenate([self.latent, latent]),
            np.concatenate([self.value, value]),
            np.concatenate([self.place, place]),
            np.concatenate([self.priority, _hash(latent, place, seed)]),
            self.keep_top,
            self.top,
            self.sample,
        )
        return pool.pruned() if len(pool.latent) > POOL else pool

    def pruned(self) -> _Pool:
        """Only firings that are among the strongest of their latent, or in its sample."""
        by_value = np.lexsort((self.priority, -self.value, self.latent))
        by_priority = np.lexsort((self.priority, self.latent))
        keep = np.zeros(len(self.latent), bool)
        keep[by_value[_rank(self.latent[by_value]) < self.keep_top]] = True
        keep[by_priority[_rank(self.latent[by_priority]) < self.sample]] = True
        order = by_value[keep[by_value]]
        return _Pool(
            self.latent[order],
            self.value[order],
            self.place[order],
            self.priority[order],
            self.keep_top,
            self.top,
            self.sample,
        )

    def of(self, latent: int) -> tuple[list[Firing], list[Firing]]:
        """(strongest, sample) of one latent; the pool is pruned, hence sorted by latent and falling value."""
        low, high = np.searchsorted(self.latent, [latent, latent + 1])
        firings = [
            Firing(int(document), int(position), float(value))
            for (document, position), value in zip(self.place[low:high], self.value[low:high], strict=True)
        ]
        first_of_document = {firing.document: firing for firing in reversed(firings[: self.keep_top])}
        top = sorted(first_of_document.values(), key=lambda firing: -firing.value)[: self.top]
        chosen = np.argsort(self.priority[low:high], kind="stable")[: self.sample]
        return top, sorted((firings[i] for i in chosen), key=lambda firing: firing.value)


def _rank(sorted_latents: np.ndarray) -> np.ndarray:
    """Place of each entry within its run of equal latents."""
    starts = np.flatnonzero(np.diff(sorted_latents, prepend=-1))
    return np.arange(len(sorted_latents)) - np.repeat(starts, np.diff(starts, append=len(sorted_latents)))


def _hash(latent: np.ndarray, place: np.ndarray, seed: int) -> np.ndarray:
    """A 64-bit mix (splitmix64) of seed, latent, document and position."""
    with np.errstate(over="ignore"):
        key = latent.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        for part in (place[:, 0], place[:, 1]):
            key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + part.astype(np.uint64)
            key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return key ^ (key >> np.uint64(31))


class RowIndex:
    """Finds the row of a store that holds a given (document, position)."""

    def __init__(self, store: ActivationStore) -> None:
        shards = list(store.shards())
        keys = torch.cat([_key(shard.origin[:, 0].long(), shard.origin[:, 1].long()) for shard in shards])
        self._activations = [shard.activations for shard in shards]
        self._starts = torch.tensor([0, *(len(shard.activations) for shard in shards)]).cumsum(0)
        self._keys, self._rows = keys.sort()

    def activations(
        self, document: int, positions: Int[Tensor, " P"]
    ) -> tuple[Int[Tensor, " F"], Float[Tensor, "F D"]]:
        """(which of the positions are in the store, their activations). Raises StoreError when none is."""
        wanted = _key(torch.full_like(positions, document), positions)
        slots = torch.searchsorted(self._keys, wanted).clamp_max(len(self._keys) - 1)
        found = (self._keys[slots] == wanted).nonzero().view(-1)
        if not len(found):
            raise StoreError(
                f"the store holds no row of document {document} near position {int(positions[0])}",
                expected="rows that were harvested from this source",
                do="Use the store that the firings were found in.",
            )
        rows = self._rows[slots[found]]
        shards = torch.searchsorted(self._starts, rows, right=True) - 1
        places = zip(shards.tolist(), (rows - self._starts[shards]).tolist(), strict=True)
        return found, torch.stack([self._activations[shard][row].float() for shard, row in places])


def _key(documents: Tensor, positions: Tensor) -> Tensor:
    return (documents << 32) + positions
