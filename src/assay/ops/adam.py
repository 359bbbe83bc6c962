"""Adam, with the constraint ||row|| = 1 where it is wanted: project the gradient, step, renormalise, in one pass over each row.

    g = sum of the gathered factors V^T M, plus the table if there is one
    unit rows: g -= (g . w) w
    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
    w -= rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
    unit rows: w /= ||w||

That is `torch.optim.Adam` between a projection and a normalisation. With beta1 = 0 the first moment is the gradient and is not kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay import ranks
from assay.ops import kernels
from assay.ops.gradient import Factors
from assay.ops.path import serving

EPS = 1e-8


@dataclass
class Moments:
    """What Adam remembers of one parameter."""

    square: Tensor
    """v, the running mean of g^2."""
    mean: Tensor | None
    """m, the running mean of g; None with beta1 = 0."""

    @classmethod
    def of(cls, parameter: Tensor, beta1: float) -> Moments:
        """Nothing remembered yet."""
        return cls(torch.zeros_like(parameter), torch.zeros_like(parameter) if beta1 else None)


@torch.no_grad()
def adam(
    parameter: Tensor,
    table: Tensor | None,
    factors: Sequence[Factors],
    moments: Moments,
    *,
    rate: float,
    beta1: float,
    beta2: float,
    step: int,
    unit: bool,
) -> None:
    """Step number `step` (from 1) on a parameter and its moments, in place. With `unit`, rows have unit norm before, and after.

    Of DTensors, the rows that are here.
    """
    square, mean = ranks.local(moments.square), None if moments.mean is None else ranks.local(moments.mean)
    parameter, table = ranks.local(parameter), None if table is None else ranks.local(table)
    if factors and serving(parameter) is kernels and parameter.is_contiguous():
        first, rest = factors[0], _sum(table, factors[1:])
        where = first.support.transpose, first.values, first.matrix, square, mean
        kernels.adam_rows(parameter, rest, *where, rate=rate, beta1=beta1, beta2=beta2, eps=EPS, step=step, unit=unit)
        return
    gradient = _sum(table, factors)
    if gradient is None:
        return
    if unit:
        gradient = gradient.addcmul((gradient * parameter).sum(-1, keepdim=True), parameter, value=-1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    if mean is not None:
        gradient = mean.lerp_(gradient, 1 - beta1)
    spread = (square.sqrt() / math.sqrt(1 - beta2**step)).add_(EPS)
    parameter.addcdiv_(gradient, spread, value=-rate / (1 - beta1**step))
    if unit:
        parameter /= parameter.norm(dim=-1, keepdim=True)


def _sum(table: Tensor | None, factors: Sequence[Factors]) -> Tensor | None:
    for each in factors:
        table = each.table() if table is None else table + each.table()
    return table
