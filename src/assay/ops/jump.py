"""The jump of a JumpReLU, and the straight-through estimators that teach its threshold."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def jump(
    z: Float[Tensor, " *N"], threshold: Float[Tensor, " *_"], bandwidth: float
) -> tuple[Float[Tensor, " *N"], Float[Tensor, " *N"]]:
    """f = z 1[z > theta] and s = 1[z > theta], whose pseudo-derivatives are (Rajamanoharan et al. 2024, arXiv:2407.14435)

    df/dz = 1[z > theta],  ds/dz = 0,  df/dtheta = -(theta/eps) K,  ds/dtheta = -K/eps

    with the rectangle kernel K = 1[|z - theta| < eps/2], eps being `bandwidth`.
    """
    return _Jump.apply(z, threshold, bandwidth)  # pyright: ignore[reportReturnType]


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(z > threshold, z, 0), (z > threshold).to(z.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_jump: Tensor, to_fires: Tensor):  # pyright: ignore
        z, threshold = ctx.saved_tensors
        band = ((z - threshold).abs() < ctx.bandwidth / 2).to(z.dtype) / ctx.bandwidth
        to_threshold = -band * (threshold * to_jump + to_fires)
        return torch.where(z > threshold, to_jump, 0), to_threshold.sum_to_size(threshold.shape), None
