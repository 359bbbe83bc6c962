"""The sparse operations in PyTorch alone, for any device and dtype.

    outside           products W (x - c) above or below a bound of their latent
    top               products on the k largest of each row
    top_groups        products on the k groups of latents with the largest norm
    times             V M     [B D]   decode, and the gradient that reaches the input
    transpose_times   V^T M   [L D]   both weight gradients
    dots              one dot product an entry [N]   the gradient that reaches the codes

V is the B x L matrix of the values; it is never built, and each costs 2 N D operations instead of 2 B L D. Rows go through the encoder
in tiles, so the table of pre-activations is never stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from assay.codes import CsrSupport, Entries, by_latent, offsets_of

TILE = 1 << 21
"""Entries of a tile of pre-activations (8 MiB in float32)."""

CHUNK = 16_384
"""Entries gathered at once where the sampled product is not available."""

transpose = by_latent


def outside(
    x: Float[Tensor, "B D"],
    center: Float[Tensor, " D"],
    encoder: Float[Tensor, "L D"],
    high: Float[Tensor, " L"],
    low: Float[Tensor, " L"],
    limit: int,
) -> Entries | None:
    """Products (x - center) W^T that are above `high` or below `low` of their latent; None if there are more than `limit`."""
    counts, kept, products, found = [], [], [], 0
    for start, product in tiles(x - center, encoder):
        mask = (product > high) | (product < low)
        chosen = mask.view(-1).nonzero().view(-1)
        found += len(chosen)
        if found > limit:
            return None
        counts.append(mask.sum(1))
        kept.append(chosen + start * len(encoder))
        products.append(product.view(-1).index_select(0, chosen))
    totals = torch.cat(counts)
    rows = torch.repeat_interleave(totals)
    return offsets_of(totals), torch.cat(kept) - rows * len(encoder), torch.cat(products)


def top(
    x: Float[Tensor, "B D"],
    center: Float[Tensor, " D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
) -> Entries:
    """Products (x - center) W^T on the k largest products + bias of each row."""
    kept, products = [], []
    for _, product in tiles(x - center, encoder):
        chosen = (product + bias).topk(k, dim=-1).indices.sort(dim=-1).values
        kept.append(chosen)
        products.append(product.gather(1, chosen))
    offsets = torch.arange(len(x) + 1, device=x.device) * k
    return offsets, torch.cat(kept).view(-1), torch.cat(products).view(-1)


def top_groups(
    x: Float[Tensor, "B D"],
    center: Float[Tensor, " D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    size: int,
) -> Entries:
    """Products (x - center) W^T on the k groups of `size` latents whose products + bias have the largest norm in each row."""
    kept, products = [], []
    within = torch.arange(size, device=x.device)
    for _, product in tiles(x - center, encoder):
        power = (product + bias).unflatten(1, (-1, size)).square().sum(-1)
        groups = power.topk(k, dim=-1).indices.sort(dim=-1).values
        latents = (groups[..., None] * size + within).flatten(1)
        kept.append(latents)
        products.append(product.gather(1, latents))
    offsets = torch.arange(len(x) + 1, device=x.device) * (k * size)
    return offsets, torch.cat(kept).view(-1), torch.cat(products).view(-1)


def tiles(x: Float[Tensor, "B D"], encoder: Float[Tensor, "L D"]) -> Iterator[tuple[int, Tensor]]:
    """(first row, products of some rows), in order; each is overwritten by the next. Autocast sets the arithmetic."""
    kind, dtype = x.device.type, x.dtype
    if torch.is_autocast_enabled(kind):
        x, encoder = x.to(torch.get_autocast_dtype(kind)), encoder.to(torch.get_autocast_dtype(kind))
    rows = max(min(TILE // max(len(encoder), 1), len(x)), 1)
    buffer = x.new_empty(rows, len(encoder))
    for start in range(0, max(len(x), 1), rows):
        part = x[start : start + rows]
        with torch.autocast(kind, enabled=False):
            product = torch.mm(part, encoder.T, out=buffer[: len(part)])
        yield start, product.to(dtype)


def times(support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "L D"]) -> Float[Tensor, "B D"]:
    """V M: for each row, the sum of `matrix` rows weighted by the values."""
    return _weighted_sums(support.indices, support.offsets, values, matrix)


def times_pair(
    support: CsrSupport, values: Float[Tensor, " N"], others: Float[Tensor, " N"], matrix: Float[Tensor, "L D"]
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """`times` for two values on one support."""
    return times(support, values, matrix), times(support, others, matrix)


def transpose_times(
    support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "B D"]
) -> Float[Tensor, "L D"]:
    """V^T M: for each latent, the sum of the batch rows it fired on weighted by the values."""
    starts, rows, order = support.transpose
    return _weighted_sums(rows, starts, values[order], matrix)


def sum_by_latent(support: CsrSupport, values: Float[Tensor, " N"]) -> Float[Tensor, " L"]:
    """Sum of the values of each latent."""
    return support.per_latent_here(values)


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


def dots_pair(
    support: CsrSupport, left: Float[Tensor, "B D"], other_left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """`dots` for two matrices on the left."""
    return dots(support, left, right), dots(support, other_left, right)


def gathered_dots(support: CsrSupport, left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]) -> Float[Tensor, " N"]:
    """The plain form of `dots`, for any device."""
    parts = zip(support.rows.split(CHUNK), support.indices.split(CHUNK), strict=True)
    return torch.cat([torch.einsum("nd,nd->n", left[rows], right[latents]) for rows, latents in parts])
