"""What a harvest will hold, known before any forward pass: which contexts make which shard, and how many rows each has.

The contexts of a source are permuted with a key; a shard owns a stretch of them, and in it the kept rows are permuted with a key. So a
shard is a pure function of (source, model, seed, its index), and a mixture of rows from all over the source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor

from assay.activations.order import permutation
from assay.activations.source import Source
from assay.errors import ConfigError, StoreError

COUNTED_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class HarvestPlan:
    """Contexts, in the order of their forward passes, and the shards they make."""

    contexts: Int[Tensor, " C"]
    """Indices into the source, in permuted order."""
    contexts_in: tuple[int, ...]
    """Contexts of each shard."""
    rows: tuple[int, ...]
    """Rows of each shard."""
    rows_per_shard: int
    """Rows that a shard was to have, give or take a context."""
    seed: int

    @property
    def tokens(self) -> int:
        """Rows of all shards."""
        return sum(self.rows)

    def contexts_of(self, shard: int) -> Int[Tensor, " C"]:
        """The contexts of a shard."""
        stop = list(accumulate(self.contexts_in))[shard]
        return self.contexts[stop - self.contexts_in[shard] : stop]

    def rows_of(self, shard: int) -> Int[Tensor, " N"]:
        """Where in the shard each of its rows goes, for rows counted in the order of their contexts."""
        return permutation(self.rows[shard], "shard", self.seed, shard)

    def bytes(self, width: int, dtype: torch.dtype, shards: Iterable[int] | None = None) -> int:
        """Disk space that the tensors of some shards (all) of one site take: activations, origins and sums."""
        chosen = [self.rows[shard] for shard in shards] if shards is not None else self.rows
        return sum(chosen) * (width * dtype.itemsize + 8) + len(chosen) * width * 8


def plan(source: Source, *, tokens: int, rows_per_shard: int = 65_536, seed: int = 0) -> HarvestPlan:
    """The harvest of exactly `tokens` rows of a source; the last shard ends early to fit.

    A context belongs to shard floor(kept rows before it / rows_per_shard).
    Raises ConfigError, and StoreError when the source has fewer rows.
    """
    if tokens < 1 or rows_per_shard < 1:
        raise ConfigError(
            f"{tokens} tokens in shards of {rows_per_shard}", expected="at least one each", do="Ask for more."
        )
    contexts = permutation(len(source), "contexts", seed)
    kept = kept_rows(source)[contexts]
    after = kept.cumsum(0)
    if (total := int(kept.sum())) < tokens:
        raise StoreError(
            f"the source has {total:,} rows ({len(source):,} contexts)",
            expected=f"the {tokens:,} that were asked for",
            do=f"Give more data, or ask for at most {total:,}.",
        )
    used = (after - kept < tokens) & (kept > 0)
    contexts, kept, after = contexts[used], kept[used], after[used].clamp(max=tokens)
    before = torch.cat([after.new_zeros(1), after[:-1]])
    _, shard, contexts_in = (before // rows_per_shard).unique_consecutive(return_inverse=True, return_counts=True)
    rows = torch.zeros(len(contexts_in), dtype=torch.int64).index_add_(0, shard, after - before)
    return HarvestPlan(contexts, tuple(contexts_in.tolist()), tuple(rows.tolist()), rows_per_shard, seed)


def kept_rows(source: Source) -> Int[Tensor, " C"]:
    """How many rows of each context of a source are kept."""
    starts = range(0, len(source), COUNTED_AT_ONCE)
    counts = [source.inputs(start, start + COUNTED_AT_ONCE).keep.flatten(1).sum(1) for start in starts]
    return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64)
