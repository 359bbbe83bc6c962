"""How much of the way back to the model's own predictions a reconstruction goes, from ablated activations."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Predictions, Summed, quotient


class KLRecoveredZero(Summed, name="kl_recovered_zero", unit="share of KL", better="higher", reads="predictions"):
    """(KL_zero - KL_spliced) / KL_zero, each E KL(p_clean ‖ p), activations ablated by zeros

    Unlike loss recovered it is never above 1. Not defined when ablation changes nothing.
    """

    def parts(self, batch: Predictions) -> Tensor:
        return torch.stack([batch.kl_zero.double(), batch.kl.double()], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0] - sums[..., 1], sums[..., 0])


class KLRecoveredMean(Summed, name="kl_recovered_mean", unit="share of KL", better="higher", reads="predictions"):
    """(KL_mean - KL_spliced) / KL_mean, each E KL(p_clean ‖ p), activations ablated by their mean

    Not defined when ablation changes nothing.
    """

    def parts(self, batch: Predictions) -> Tensor:
        return torch.stack([batch.kl_mean.double(), batch.kl.double()], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0] - sums[..., 1], sums[..., 0])
