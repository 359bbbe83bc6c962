"""A penalty sum |f|^p whose power falls from 1 in equal steps of training, its size continuous where the power changes.

p-annealing (arXiv:2408.00113). The state is three tensors that a dictionary keeps as buffers: how often the power has changed, the
coefficient that keeps the size, and what recent batches gave under the power now and the next one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.codes import SparseCodes

FLOOR = 1e-3
"""Magnitude below which `power` is a straight line, for x with E||x||^2 = 1."""


def power(values: Tensor, p: float, floor: float = FLOOR) -> Tensor:
    """|v|^p, and the straight line |v| floor^(p - 1) below `floor`, so that the slope is finite everywhere and zero at zero."""
    magnitude = values.abs()
    return magnitude * magnitude.clamp_min(floor).pow(p - 1)


def changes_due(progress: float, start: float, changes: int) -> int:
    """How often the power should have changed: first at `start`, then at equal distances; the last one is used as long as the others."""
    return 0 if progress < start else min(1 + int(changes * (progress - start) / (1 - start)), changes)


def exponent(changed: int, changes: int, end: float) -> float:
    """1 - (1 - end) changed / changes, not beyond `end`."""
    return 1 - (1 - end) * min(changed, changes) / changes


def powers(codes: SparseCodes, changed: Int[Tensor, ""], changes: int, end: float) -> Float[Tensor, 2]:
    """Mean over the rows of sum_i |f_i|^p, for the power now and the next one."""
    exponents = (exponent(int(changed) + ahead, changes, end) for ahead in (0, 1))
    return torch.stack([codes.mean_row_sum(power(codes.values, p)) for p in exponents])


def annealed(
    changed: Int[Tensor, ""],
    coefficient: Float[Tensor, ""],
    recent: Float[Tensor, "Q 2"],
    sums: Float[Tensor, 2],
    due: int,
) -> tuple[Int[Tensor, ""], Float[Tensor, ""], Float[Tensor, "Q 2"]]:
    """The state after a batch whose `powers` are `sums`.

    When a change is due, coefficient <- coefficient * mean(now) / mean(next) over the recent batches, of which there may be fewer than
    Q: places not used yet hold zeros.
    """
    recent = torch.cat([recent[1:], sums[None]])
    if due <= int(changed):
        return changed, coefficient, recent
    now, after = recent.sum(0)
    ratio = torch.where(after > 0, now / after.clamp_min(torch.finfo(after.dtype).tiny), torch.ones_like(after))
    return changed + 1, coefficient * ratio, torch.zeros_like(recent)
