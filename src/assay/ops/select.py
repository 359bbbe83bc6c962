"""Which latents fire: the encoder product, kept only where a rule says so.

The result holds the bare products u = W x on the chosen support; a variant adds its biases with `codes.spread`. Rows go through the
encoder in tiles that stay in cache, so the B x L table of pre-activations is never stored. Early in training most latents fire: when
the first tile keeps more than `CROSSOVER` of its entries, the whole batch takes the dense layout, which is faster there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay.codes import CsrSupport, DenseSupport, SparseCodes
from assay.ops import sparse

CROSSOVER = 0.1
"""Density above which a batch goes dense; an estimate from one CPU (width 3,072, density 0.02: 4 ms sparse, 22 ms dense)."""

TILE = 1 << 21
"""Entries of a tile of pre-activations (8 MiB in float32)."""


def select_positive(x: Float[Tensor, "B D"], encoder: Float[Tensor, "L D"], bias: Float[Tensor, " L"]) -> SparseCodes:
    """Products u = W x on the support {u > -bias}. `bias` only chooses the support: it gets no gradient here."""
    counts: list[Tensor] = []
    kept: list[Tensor] = []
    products: list[Tensor] = []
    with torch.no_grad():
        for start, product in _tiles(x, encoder):
            mask = product > -bias
            chosen = mask.view(-1).nonzero().view(-1)
            if start == 0 and len(chosen) > CROSSOVER * product.numel():
                break
            counts.append(mask.sum(1))
            kept.append(chosen + start * len(encoder))
            products.append(product.view(-1).index_select(0, chosen))
    if not kept:
        return _dense(x, encoder, bias)
    rows = torch.repeat_interleave(torch.cat(counts))
    latents = torch.cat(kept) - rows * len(encoder)
    return _on_support(x, encoder, rows, latents, torch.cat(products))


def select_top_k(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    among: Bool[Tensor, " L"] | None = None,
) -> SparseCodes:
    """Products u = W x on the k largest u + bias of each row (fewer if fewer are allowed), of the latents in `among` if given."""
    allowed = None if among is None else among.nonzero().view(-1)
    rows_of = encoder if allowed is None else encoder.index_select(0, allowed)
    shift = bias if allowed is None else bias.index_select(0, allowed)
    k = min(k, len(rows_of))
    kept: list[Tensor] = []
    products: list[Tensor] = []
    with torch.no_grad():
        for _, product in _tiles(x, rows_of.detach()):
            chosen = (product + shift).topk(k, dim=-1).indices.sort(dim=-1).values
            kept.append(chosen)
            products.append(product.gather(1, chosen))
    latents = torch.cat(kept).view(-1)
    rows = torch.arange(len(x), device=x.device).repeat_interleave(k)
    latents = latents if allowed is None else allowed[latents]
    return _on_support(x, encoder, rows, latents, torch.cat(products).view(-1))


def _tiles(x: Tensor, encoder: Tensor) -> Iterator[tuple[int, Tensor]]:
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


def _dense(x: Tensor, encoder: Tensor, bias: Tensor) -> SparseCodes:
    product = (x @ encoder.T).to(x.dtype)
    support = DenseSupport(product.detach() > -bias.detach())
    return SparseCodes(support.confine(product), support)


def _on_support(
    x: Tensor, encoder: Tensor, rows: Int[Tensor, " N"], latents: Int[Tensor, " N"], products: Tensor
) -> SparseCodes:
    offsets = rows.new_zeros(len(x) + 1)
    offsets[1:] = torch.bincount(rows, minlength=len(x)).cumsum(0)
    support = CsrSupport(offsets, latents, len(encoder))
    return SparseCodes(_Products.apply(x, encoder, support, products), support)


class _Products(torch.autograd.Function):
    """Gives products that are already computed their gradients: du = g gives dW = g^T x and dx = g W, on the support."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, encoder: Tensor, support: CsrSupport, products: Tensor) -> Tensor:
        ctx.save_for_backward(x, encoder)
        ctx.support = support
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # pyright: ignore
        x, encoder = ctx.saved_tensors
        to_x = sparse.times(ctx.support, gradient, encoder) if ctx.needs_input_grad[0] else None
        to_encoder = sparse.transpose_times(ctx.support, gradient, x) if ctx.needs_input_grad[1] else None
        return to_x, to_encoder, None, None
