"""The reconstruction bias as the paper prints it, on activations as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Rows, Summed, quotient


class RelativeReconstructionBiasRaw(
    Summed, name="relative_reconstruction_bias_raw", unit="ratio, 1 is unbiased", better="target", reads="rows"
):
    """γ_raw = E‖x̂‖² / E⟨x, x̂⟩

    γ_raw = argmin_g E‖x̂ / g - x‖². For comparison with published numbers: where the mean of the activations is large it is near 1
    whatever the dictionary does. Source: arXiv:2404.16014v2.
    """

    def parts(self, batch: Rows) -> Tensor:
        x, reconstruction = batch.x.double(), batch.reconstruction.double()
        return torch.stack([reconstruction.square().sum(-1), (x * reconstruction).sum(-1)], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0], sums[..., 1])
