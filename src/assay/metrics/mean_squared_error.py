"""The squared error, in the units of the activations and as a share of their power."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Rows, Summed, quotient


class MeanSquaredError(
    Summed, name="mse", unit="squared raw activation, mean over the width", better="lower", reads="rows"
):
    """E ‖x - x̂‖² / D"""

    def parts(self, batch: Rows) -> Tensor:
        return (batch.x.double() - batch.reconstruction.double()).square().mean(-1)[:, None]


class NormalisedError(Summed, name="nmse", unit="share of squared length", better="lower", reads="rows"):
    """Σ‖x - x̂‖² / Σ‖x‖²

    A large mean, which every decoder bias gets right, makes it small: explained variance says more.
    """

    def parts(self, batch: Rows) -> Tensor:
        x = batch.x.double()
        return torch.stack([(x - batch.reconstruction.double()).square().sum(-1), x.square().sum(-1)], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0], sums[..., 1])
