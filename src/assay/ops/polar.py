"""The polar factor of matrices, and the sum of their singular values, whose subgradient it is."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def polar_factor(blocks: Float[Tensor, "*K R D"]) -> Float[Tensor, "*K R D"]:
    """U V^T of blocks U S V^T (R <= D, or of smaller rank): the nearest matrix with orthonormal rows. No gradient.

    Directions whose singular value rounding cannot tell from zero are left out, so that it is finite whatever the rank.
    """
    return _polar(blocks.detach())[0]


def nuclear_norm(blocks: Float[Tensor, "*K R D"]) -> Float[Tensor, " *K"]:
    """||D_k||_*: the sum of the singular values of each block; the gradient is its polar factor, a subgradient at any rank."""
    return _NuclearNorm.apply(blocks)  # pyright: ignore[reportReturnType]


def _polar(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Polar factors and singular values, by the R x R products: V diag(1/s) V^T D where D D^T = V diag(s^2) V^T."""
    gram = (blocks @ blocks.mT).double()
    if not gram.isfinite().all():  # eigh would raise, and the trainer says better what a loss that is not finite means
        return blocks * torch.nan, gram.sum((-1, -2)).to(blocks.dtype) * torch.nan
    power, directions = torch.linalg.eigh(gram)
    negligible = power[..., -1:] * (torch.finfo(blocks.dtype).eps * blocks.shape[-2])
    values = torch.where(power > negligible, power, 0).sqrt()
    inverse = torch.where(values > 0, 1 / values, 0)
    whitening = (directions * inverse[..., None, :]) @ directions.mT
    return whitening.to(blocks.dtype) @ blocks, values.sum(-1).to(blocks.dtype)


class _NuclearNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blocks: Tensor) -> Tensor:
        factor, norm = _polar(blocks)
        ctx.save_for_backward(factor)
        return norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        (factor,) = ctx.saved_tensors
        return gradient[..., None, None] * factor
