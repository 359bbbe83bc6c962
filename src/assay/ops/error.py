"""The reconstruction error that every dictionary minimises, and the share of one that an estimate leaves."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def squared_error(reconstruction: Float[Tensor, "B D"], target: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Squared error summed over the width, averaged over the batch: E_b ||xhat_b - x_b||^2."""
    return (reconstruction - target).square().sum(-1).mean()


def unexplained_share(estimate: Float[Tensor, "B D"], error: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """||e - ehat||^2 / ||e - mean e||^2 over the batch; zero where e does not vary."""
    variance = (error - error.mean(0)).square().sum(-1).mean()
    return squared_error(estimate, error) / variance.masked_fill(variance == 0, torch.inf)
