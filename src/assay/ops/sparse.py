"""The three products that everything after the encoder is made of, on a CSR support of N entries.

    times             V M     [B D]   decode, and the gradient that reaches the input
    transpose_times   V^T M   [L D]   both weight gradients
    dots              one dot product an entry [N]   the gradient that reaches the codes

V is the B x L matrix of the values; it is never built. Each costs 2 N D operations instead of 2 B L D.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from assay.codes import CsrSupport

CHUNK = 16_384
"""Entries gathered at once where the sampled product is not available."""


def times(support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "L D"]) -> Float[Tensor, "B D"]:
    """V M: for each row, the sum of `matrix` rows weighted by the values."""
    return _weighted_sums(support.indices, support.offsets, values, matrix)


def transpose_times(
    support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "B D"]
) -> Float[Tensor, "L D"]:
    """V^T M: for each latent, the sum of the batch rows it fired on weighted by the values."""
    offsets, order = support.transpose
    return _weighted_sums(support.rows[order], offsets, values[order], matrix)


def _weighted_sums(indices: Tensor, offsets: Tensor, weights: Tensor, matrix: Tensor) -> Tensor:
    if len(indices) == 0:  # embedding_bag refuses an empty list on some builds
        return matrix.new_zeros(len(offsets) - 1, matrix.shape[1])
    return F.embedding_bag(indices, matrix, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def dots(support: CsrSupport, left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]) -> Float[Tensor, " N"]:
    """left_b . right_l for each entry (b, l)."""
    if torch.backends.mkl.is_available() or left.is_cuda:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            pattern = torch.sparse_csr_tensor(
                support.offsets,
                support.indices,
                left.new_zeros(len(support.indices)),
                (len(support), support.width),
                check_invariants=False,
            )
            return torch.sparse.sampled_addmm(pattern, left, right.T, beta=0.0).values()
    return gathered_dots(support, left, right)


def gathered_dots(support: CsrSupport, left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]) -> Float[Tensor, " N"]:
    """The plain form of `dots`, for any device."""
    parts = zip(support.rows.split(CHUNK), support.indices.split(CHUNK), strict=True)
    return torch.cat([torch.einsum("nd,nd->n", left[rows], right[latents]) for rows, latents in parts])
