"""How much of what a site does for the model survives the splice, where the mean activation is the other end of the scale."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Predictions, Summed, quotient


class LossRecoveredMean(
    Summed, name="loss_recovered_mean", unit="share of cross-entropy", better="higher", reads="predictions"
):
    """(CE_mean - CE_spliced) / (CE_mean - CE_clean), activations ablated by their mean

    A dictionary that does worse than the mean activation scores below 0.
    Not defined when ablation costs nothing. Source: arXiv:2404.16014.
    """

    def parts(self, batch: Predictions) -> Tensor:
        return torch.stack([batch.mean.double(), batch.spliced.double(), batch.clean.double()], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0] - sums[..., 1], sums[..., 0] - sums[..., 2])
