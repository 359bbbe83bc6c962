"""AuxK (Gao et al. 2024): dead latents learn to reconstruct what the living leave over. Shared by every variant that keeps k latents."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from assay.codes import SparseCodes
from assay.ops.decode import decode
from assay.ops.error import unexplained_share
from assay.ops.select import select_group_top_k, select_top_k


def shifted(products: SparseCodes, bias: Float[Tensor, " L"]) -> SparseCodes:
    """u + b on the support of the products u."""
    return products.with_values(products.values + products.spread(bias))


def rectified(products: SparseCodes, bias: Float[Tensor, " L"]) -> SparseCodes:
    """relu(u + b) on the support of the products u."""
    return products.with_values((products.values + products.spread(bias)).relu())


def auxk(
    x: Float[Tensor, "B D"],
    dead: Bool[Tensor, " L"] | None,
    error: Float[Tensor, "B E"],
    k: int,
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    center: Float[Tensor, " D"] | None,
    atoms: Float[Tensor, "L E"],
    *,
    signed: bool = False,
) -> Float[Tensor, ""]:
    """||e - ehat||^2 / ||e - mean e||^2, where the k largest dead latents of each row make ehat = sum_i f_i d_i; e gets no gradient.

    Zero while none is dead, nobody counts, or nothing varies. `signed` takes the largest |u + b|, and keeps their signs.
    """
    error = error.detach()
    if dead is None or not dead.any():
        return error.new_zeros(())
    if signed:
        codes = shifted(select_group_top_k(x, encoder, bias, k, 1, center, among=dead), bias)
    else:
        codes = rectified(select_top_k(x, encoder, bias, k, dead, center), bias)
    return unexplained_share(decode(codes, atoms), error)
