"""Sparsemax of the stored values of each row: the nearest point of the simplex, most of whose coordinates are zero."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes


def sparsemax(scores: SparseCodes) -> SparseCodes:
    """p = argmin ||p - z||^2 over p >= 0, sum_i p_i = 1, of each row's stored values z; what is not stored counts as minus infinity.

    p_i = max(z_i - tau, 0) with tau = (sum_S z - 1) / |S| over the support S, on which the Jacobian is 1_ij - 1/|S|
    (Martins and Astudillo 2016, arXiv:1602.02068). A row that stores nothing has no p.
    """
    chosen = (scores.values.detach() > scores.support.spread_rows(simplex_threshold(scores))).to(scores.values.dtype)
    count = scores.support.per_row(scores.support.confine(chosen)).clamp_min(1)
    tau = (scores.support.per_row(scores.support.confine(chosen * scores.values)) - 1) / count
    return scores.with_values(chosen * (scores.values - scores.support.spread_rows(tau)).relu())


@torch.no_grad()
def simplex_threshold(scores: SparseCodes) -> Float[Tensor, " B"]:
    """tau of each row: exact after finitely many steps, each of which drops from S what is not above its tau (Michelot 1986)."""
    support, z = scores.support, scores.values
    inside = support.confine(torch.ones_like(z))
    count = support.per_row(inside)
    while True:
        tau = (support.per_row(inside * z) - 1) / count.clamp_min(1)
        inside = inside * (z > support.spread_rows(tau))
        fewer = support.per_row(inside)
        if torch.equal(fewer, count):
            return tau
        count = fewer
