"""The unit of measure of a dictionary: x = (raw - mean) / scale, with mean zero and E||x||^2 = 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.errors import Diverged

ROWS_AT_ONCE = 2048
"""Rows of a sample that are in float64 at once."""


@dataclass(frozen=True, eq=False)
class Scale:
    """How raw activations become x. Of activations in several parts, each part has E||x||^2 = 1 and `scale` is a number a column."""

    mean: Float[Tensor, " D"]
    scale: Float[Tensor, "*columns"]

    @classmethod
    def of(cls, sample: Float[Tensor, "B D"], parts: tuple[int, ...] = ()) -> Scale:
        """Fitted to the finite rows of a sample, in float64. Raises Diverged."""
        finite = finite_rows(sample)
        if not finite.any():
            raise Diverged("no row of the sample is finite", expected="finite activations", do="Harvest them again.")
        mean = sample.new_zeros(sample.shape[1], dtype=torch.float64)
        power = torch.zeros_like(mean)
        for rows in _doubles(sample, finite):
            mean += rows.sum(0)
        mean /= finite.sum()
        for rows in _doubles(sample, finite):
            power += (rows - mean).square().sum(0)
        power /= finite.sum()
        if len(parts) <= 1:
            return cls(mean, _root(power.sum()))
        roots = torch.stack([_root(part.sum()) for part in power.split(parts)])
        return cls(mean, roots.repeat_interleave(torch.tensor(parts, device=roots.device)))


def finite_rows(x: Float[Tensor, "B D"]) -> Bool[Tensor, " B"]:
    """Which rows hold neither NaN nor infinity, found without a copy of them."""
    low, high = x.aminmax(dim=-1)
    return torch.isfinite(low) & torch.isfinite(high)


def _root(power: Float[Tensor, ""]) -> Float[Tensor, ""]:
    return power.sqrt() if power > 0 else torch.ones_like(power)


def _doubles(x: Float[Tensor, "B D"], finite: Bool[Tensor, " B"]) -> Iterator[Float[Tensor, "_ D"]]:
    """The finite rows in float64, some at a time."""
    parts = zip(x.split(ROWS_AT_ONCE), finite.split(ROWS_AT_ONCE), strict=True)
    return (rows[chosen].double() for rows, chosen in parts)
