"""The reconstruction error that every dictionary minimises."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def squared_error(reconstruction: Float[Tensor, "B D"], target: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Squared error summed over the width, averaged over the batch: E_b ||xhat_b - x_b||^2."""
    return (reconstruction - target).square().sum(-1).mean()
