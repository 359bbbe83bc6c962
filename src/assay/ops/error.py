"""The reconstruction error that every dictionary minimises, and the share of one that an estimate leaves."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay import ranks


def squared_error(reconstruction: Float[Tensor, "B D"], target: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Squared error summed over the width, averaged over the batch: E_b ||xhat_b - x_b||^2."""
    return _SquaredError.apply(reconstruction, target)  # pyright: ignore[reportReturnType]


class _SquaredError(torch.autograd.Function):
    """One difference serves the error and its gradient 2 (xhat - x) / B, where autograd would make seven tables of B x D."""

    @staticmethod
    def forward(ctx: Any, reconstruction: Tensor, target: Tensor) -> Tensor:
        difference = reconstruction - target
        ctx.save_for_backward(difference)
        return torch.linalg.vector_norm(difference, dim=-1).square().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        (difference,) = ctx.saved_tensors
        slope = difference * (gradient * (2 / max(len(difference), 1)))
        return slope, -slope if ctx.needs_input_grad[1] else None


def unexplained_share(estimate: Float[Tensor, "B D"], error: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """||e - ehat||^2 / ||e - mean e||^2 over the batch; zero where e does not vary.

    Where processes share the batch the error is that of the rows here, the variance that of all: the mean of the shares is the batch's.
    """
    variance = ranks.batch_mean((error - ranks.batch_mean(error.mean(0))).square().sum(-1).mean())
    return squared_error(estimate, error) / variance.masked_fill(variance == 0, torch.inf)
