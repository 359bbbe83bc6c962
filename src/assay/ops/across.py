"""What is largest among all that several processes hold: exact, and of equal ones those that one process would keep.

Every process offers its own best; only their scores travel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay import ranks
from assay.ranks import Ranks, Shard


def keep_largest(
    shards: Ranks, offsets: Int[Tensor, " offsets"], scores: Float[Tensor, " N"], k: int
) -> Bool[Tensor, " N"]:
    """Which candidates, at most k a row here, are among the k of their row that score highest in all shards; of equal ones the first.

    Each process sends B k scores.
    """
    rows = torch.repeat_interleave(offsets.diff(), output_size=len(scores))
    places = torch.arange(len(scores), device=scores.device) - offsets[rows]
    mine = scores.new_full((len(offsets) - 1, k), -torch.inf)
    mine[rows, places] = scores.nan_to_num(nan=-torch.inf)
    everyone = shards.stacked(mine)
    last = everyone.transpose(0, 1).flatten(1).topk(k, sorted=False).values.amin(1, keepdim=True)
    tied = everyone == last
    before = tied[: shards.index].sum((0, 2))[:, None] + tied[shards.index].cumsum(1) - 1
    left = (k - (everyone > last).sum((0, 2)))[:, None]
    return ((mine > last) | (tied[shards.index] & (before < left)))[rows, places]


@dataclass(frozen=True)
class Everyone:
    """All who work on one batch: those that hold other latents, and those that hold other rows."""

    shards: Ranks | None
    parts: Ranks | None

    @classmethod
    def of(cls, shard: Shard | None) -> Everyone:
        """The other shards, and who shares the batch."""
        return cls(shard.ranks if shard else None, ranks.batch())

    def rows(self, here: int) -> int:
        """Rows of the whole batch."""
        return here * (self.parts.size if self.parts else 1)

    def total(self, count: int, device: torch.device) -> int:
        """Sum of a count over all."""
        if self.shards is None and self.parts is None:
            return count
        number = torch.tensor(count, device=device)
        for group in (self.shards, self.parts):
            number = group.sum(number) if group else number
        return int(number)

    def spaced(self, x: Float[Tensor, "B D"], count: int) -> Float[Tensor, "_ D"]:
        """The rows here of about `count` that are spread evenly over the whole batch."""
        step = max(self.rows(len(x)) // count, 1)
        first = self.parts.index * len(x) if self.parts else 0
        return x[-first % step :: step]

    def highest(self, scores: Float[Tensor, " N"], count: int, *, sort: bool) -> Float[Tensor, " _"]:
        """The `count` highest scores of all, or all of them if there are fewer; with `sort` the highest first."""
        for group in (self.shards, self.parts):
            if group:
                scores = group.joined(scores.topk(min(count, len(scores)), sorted=False).values)
        return scores.topk(min(count, len(scores)), sorted=sort).values

    def best(
        self, scores: Float[Tensor, " N"], rows: Int[Tensor, " N"], number: int, wanted: int
    ) -> Bool[Tensor, " N"]:
        """Which entries, in row order, are among the `wanted` of the whole batch that score highest; of equal ones the first.

        The first in the order of rows, and in a row of latents. `number` rows are here.
        """
        highest = self.highest(scores, wanted, sort=False)
        if len(highest) < max(wanted, 1):
            return torch.ones_like(scores, dtype=torch.bool)
        last = highest.min()
        tied, left = scores == last, wanted - int((highest > last).sum())
        if self.shards is None and self.parts is None:
            keep = scores > last
            keep[tied.nonzero().view(-1)[:left]] = True
            return keep
        return (scores > last) | (tied & (self._places(tied, rows, number) < left))

    def _places(self, tied: Bool[Tensor, " N"], rows: Int[Tensor, " N"], number: int) -> Int[Tensor, " N"]:
        """How many tied entries of the whole batch come before each, where it is one itself."""
        counts = torch.zeros(number, dtype=torch.int64, device=rows.device).index_add(0, rows, tied.long())
        by_shard = self.shards.stacked(counts) if self.shards else counts[None]
        index = self.shards.index if self.shards else 0
        in_row = by_shard.sum(0)
        before_row = in_row.cumsum(0) - in_row + by_shard[:index].sum(0)
        if self.parts:
            before_row = before_row + self.parts.stacked(in_row.sum())[: self.parts.index].sum()
        within = tied.cumsum(0) - 1 - (counts.cumsum(0) - counts)[rows]
        return before_row[rows] + within
