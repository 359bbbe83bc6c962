"""Whether reconstructions are systematically too small: the shrinkage that Gated dictionaries were made to undo."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Rows, Summed, quotient


class RelativeReconstructionBias(
    Summed, name="relative_reconstruction_bias", unit="ratio, 1 is unbiased", better="target", reads="rows"
):
    """γ = E‖x̂ - μ‖² / E⟨x - μ, x̂ - μ⟩, about the mean μ = E x of the evaluated rows

    γ = argmin_g E‖(x̂ - μ) / g - (x - μ)‖²: dividing the reconstruction by γ would bring it nearest to the activations, so γ < 1 says
    that it is too small. About the mean, because a large mean, which every decoder bias gets right, pulls the raw ratio to 1 and
    hides the shrinkage. Not defined when x̂ does not covary with x. Source: arXiv:2404.16014v2, there without the mean.
    """

    def parts(self, batch: Rows) -> Tensor:
        x, reconstruction = batch.x.double(), batch.reconstruction.double()
        if len(x) and not hasattr(self, "firsts"):
            self.firsts = x[0].clone(), reconstruction[0].clone()  # rows count from here: a large mean costs no digits
        if len(x):
            x, reconstruction = x - self.firsts[0], reconstruction - self.firsts[1]
        own, shared = reconstruction.square().sum(-1, keepdim=True), (x * reconstruction).sum(-1, keepdim=True)
        return torch.cat([own, shared, x, reconstruction], 1)

    def settled(self, sums: Tensor) -> Tensor:
        own, shared, rows = sums[:, 0], sums[:, 1], sums[:, -1]
        x, reconstruction = sums[:, 2:-1].chunk(2, dim=1)
        mean_x, mean = x.sum(0) / rows.sum(), reconstruction.sum(0) / rows.sum()
        offset = (self.firsts[1] - self.firsts[0]).to(mean) + (mean - mean_x)
        covaries = shared - reconstruction @ mean_x - x @ mean + rows * (mean_x @ mean)
        spread = own - 2 * reconstruction @ mean + rows * (mean @ mean)
        length = spread + 2 * (reconstruction - rows[:, None] * mean) @ offset + rows * (offset @ offset)
        return torch.stack([length, covaries, rows], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0], sums[..., 1])
