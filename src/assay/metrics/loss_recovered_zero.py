"""How much of what a site does for the model survives the splice, where nothing at all is the other end of the scale."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Predictions, Summed, quotient


class LossRecoveredZero(
    Summed, name="loss_recovered_zero", unit="share of cross-entropy", better="higher", reads="predictions"
):
    """(CE_zero - CE_spliced) / (CE_zero - CE_clean), activations ablated by zeros

    Zeros are far from anything the model has seen, so at residual sites the denominator is large and every dictionary scores high.
    Not defined when ablation costs nothing. Source: arXiv:2404.16014.
    """

    def parts(self, batch: Predictions) -> Tensor:
        return torch.stack([batch.zero.double(), batch.spliced.double(), batch.clean.double()], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0] - sums[..., 1], sums[..., 0] - sums[..., 2])
