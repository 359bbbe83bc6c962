"""Intervals by drawing anew what was drawn: documents, and seeds of dictionaries. Nothing is assumed about the shape of an error.

What is compared is drawn together: a document that is easy for one dictionary is easy for the other, and only what is left is noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import xxhash
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from assay.config import Config

DRAWS, LEVEL = 1000, 0.95


class Interval(Config):
    """A number and between what its likes lie."""

    estimate: float | None
    """From all documents and seeds; None where it is not defined."""
    low: float | None
    """Below it lie 2.5 % of the draws."""
    high: float | None
    """Above it lie 2.5 % of the draws."""


class Drawing(Config):
    """How draws are made."""

    draws: int = Field(default=DRAWS, ge=1)
    """How often documents and seeds are drawn."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the draws."""

    def documents(self, count: int, text: str = "") -> Float[Tensor, "R G"]:
        """How often each of `count` documents is there in each draw of as many; the same for the same text."""
        return _counts(self._indices(count, f"documents {text}"), count)

    def seeds(self, seeds: Sequence[int]) -> Int[Tensor, "R S"]:
        """Which of some seeds stand for them in each draw of as many; the same for the same seeds."""
        return self._indices(len(seeds), f"seeds {sorted(seeds)}")

    def _indices(self, count: int, purpose: str) -> Int[Tensor, "R N"]:
        seed = xxhash.xxh3_64_intdigest(f"bootstrap {self.seed} {purpose}".encode()) >> 1
        return torch.randint(count, (self.draws, count), generator=torch.Generator().manual_seed(seed))


def interval(estimate: float, drawn: Float[Tensor, " R"], level: float = LEVEL) -> Interval:
    """Percentile interval; draws in which the number is not defined are left out, and if half of them are, there is no interval."""
    defined = drawn[drawn.isfinite()].double()
    known = estimate if torch.isfinite(torch.tensor(estimate)) else None
    if known is None or 2 * len(defined) <= len(drawn):
        return Interval(estimate=known, low=None, high=None)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(defined, tails).tolist()
    return Interval(estimate=known, low=low, high=high)


def _counts(indices: Int[Tensor, "R N"], count: int) -> Float[Tensor, "R G"]:
    ones = torch.ones(indices.shape, dtype=torch.float64)
    return torch.zeros(len(indices), count, dtype=torch.float64).scatter_add_(1, indices, ones)
