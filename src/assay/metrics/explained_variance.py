"""How much of the activations' spread the reconstruction accounts for, over the whole sample and not batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Rows, Summed, quotient


class ExplainedVariance(Summed, name="explained_variance", unit="share of variance", better="higher", reads="rows"):
    """1 - Σ‖x - x̂‖² / Σ‖x - E x‖²

    Both sums run over all evaluated rows, and E x is their mean: predicting the mean scores 0, and anything worse is negative.
    Not defined when all rows are equal.
    """

    def parts(self, batch: Rows) -> Tensor:
        x = batch.x.double()
        if len(x) and not hasattr(self, "first"):
            self.first = x[0].clone()  # rows count from here: a large mean costs no digits
        error = (x - batch.reconstruction.double()).square().sum(-1, keepdim=True)
        away = x - self.first if len(x) else x
        return torch.cat([error, away.square().sum(-1, keepdim=True), away], 1)

    def settled(self, sums: Tensor) -> Tensor:
        error, power, away, rows = sums[:, 0], sums[:, 1], sums[:, 2:-1], sums[:, -1]
        mean = away.sum(0) / rows.sum()
        return torch.stack([error, power - 2 * away @ mean + rows * (mean @ mean), rows], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return 1 - quotient(sums[..., 0], sums[..., 1])


class ByToken(
    Summed, name="explained_variance_by_token", unit="share of squared length, a token", better="higher", reads="rows"
):
    """E [1 - ‖x - x̂‖² / ‖x - m‖²], m the mean of the training activations

    For comparison with published numbers that average over tokens: a few tokens near the mean decide about it. Not defined without m;
    tokens equal to it are left out.
    """

    def parts(self, batch: Rows) -> Tensor:
        if batch.typical is None:
            return torch.zeros(len(batch.x), 2, dtype=torch.float64)
        x = batch.x.double()
        error, spread = (x - batch.reconstruction).square().sum(-1), (x - batch.typical).square().sum(-1)
        return torch.stack([(1 - quotient(error, spread)).nan_to_num(0.0), (spread > 0).double()], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0], sums[..., 1])
