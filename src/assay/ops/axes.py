"""Directions that are found by linear algebra, once, from a sample: principal axes, and axes along which a sample is independent."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

TOLERANCE = 1e-6
"""FastICA ends when every axis has turned by less than this, as 1 - |cos|."""


def principal_axes(x: Float[Tensor, "B D"], count: int) -> tuple[Float[Tensor, "count D"], Float[Tensor, " count"]]:
    """The orthonormal axes of the largest variance about the mean, largest first, and those variances; computed in float64.

    Each axis points to where its largest entry is positive, so that the sample alone decides.
    """
    centred = x.double() - x.double().mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / max(len(x), 1))
    axes, variances = axes.T.flip(0)[:count], variances.flip(0)[:count].clamp_min(0)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return (axes * largest.sign()).to(x.dtype), variances.to(x.dtype)


def independent_axes(
    x: Float[Tensor, "B D"], count: int, *, rounds: int, generator: torch.Generator
) -> tuple[Float[Tensor, "count D"], Float[Tensor, "count D"]]:
    """FastICA with symmetric orthogonalisation (Hyvärinen 1999): unmixing rows w_i and unit mixing directions a_i.

    z = whitened x on its first `count` principal axes;  W <- (W W^T)^-1/2 W  after  W <- E[tanh(Wz) z^T] - E[1 - tanh(Wz)^2] W
    sum_i (w_i . x) a_i is the projection of x on those axes. Computed in float64; axes without variance are left as they are.
    """
    axes, variances = principal_axes(x.double(), count)
    spread = variances.sqrt().clamp_min(torch.finfo(torch.float64).eps)
    z = (x.double() - x.double().mean(0)) @ (axes / spread[:, None]).T
    turn = _orthogonal(torch.randn(count, count, generator=generator, dtype=torch.float64).to(z))
    for _ in range(rounds):
        source = (z @ turn.T).tanh()
        new = _orthogonal(source.T @ z / len(z) - (1 - source.square()).mean(0)[:, None] * turn)
        turned, turn = (1 - (new * turn).sum(1).abs()).max(), new
        if turned < TOLERANCE:
            break
    mixing, unmixing = turn @ (axes * spread[:, None]), turn @ (axes / spread[:, None])
    length = mixing.norm(dim=1, keepdim=True)
    return (unmixing * length).to(x.dtype), (mixing / length).to(x.dtype)


def _orthogonal(matrix: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """(M M^T)^-1/2 M: the nearest orthogonal matrix."""
    left, _, right = torch.linalg.svd(matrix)
    return left @ right
