"""Which latents fire: the encoder product, kept only where a rule says so.

The result holds the bare products u = W (x - c) on the chosen support; a variant adds its biases with `codes.spread`. The B x L table
of pre-activations is never stored, unless more than `path.CROSSOVER` of it is kept, as early in training: then the whole batch takes
the dense layout, which is faster there. Supports are exact: nothing overflows, and no gradient reaches what only chooses.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay.codes import CsrSupport, DenseSupport, Entries, SparseCodes, offsets_of
from assay.ops import path
from assay.ops.gradient import deliver

SAMPLE = 32
"""About how many rows, spread over the batch, the level of a batch-wide top-k is guessed from before it is made exact."""


def select_positive(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) on the support {u > -bias}. `bias` only chooses the support: it gets no gradient here."""
    return select_outside(x, encoder, -bias, None, center)


def select_outside(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    high: Float[Tensor, " L"],
    low: Float[Tensor, " L"] | None = None,
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) on the support {u > high or u < low}: two-sided gates. No `low` is minus infinity."""
    center = x.new_zeros(x.shape[1]) if center is None else center
    with torch.no_grad():
        below = torch.full_like(high, -torch.inf) if low is None else low
        entries = _outside(x, center, encoder, high, below)
    if entries is None:
        return _dense(x, center, encoder, high.detach(), below)
    return _on_support(x, center, encoder, *entries)


def select_top_k(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    among: Bool[Tensor, " L"] | None = None,
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) on the k largest u + bias of each row (fewer if there are fewer); `among` allows some latents only."""
    center = x.new_zeros(x.shape[1]) if center is None else center
    with torch.no_grad():
        allowed = None if among is None else among.nonzero().view(-1)
        rows = encoder if allowed is None else encoder.index_select(0, allowed)
        shift = bias if allowed is None else bias.index_select(0, allowed)
        offsets, latents, products = path.serving(x, rows).top(x, center, rows, shift, min(k, len(rows)))
        latents = latents if allowed is None else allowed[latents]
    return _on_support(x, center, encoder, offsets, latents, products)


def select_batch_top_k(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) on the k B largest positive u + bias of the whole batch; of ties at the last place the first rows'.

    The level is guessed from some of the rows and checked: if it keeps too few it is lowered until it does not, so the result is exact.
    """
    center = x.new_zeros(x.shape[1]) if center is None else center
    wanted = k * len(x)
    with torch.no_grad():
        below = torch.full_like(bias, -torch.inf)
        for level in _levels(x[:: max(len(x) // SAMPLE, 1)] - center, encoder, bias, k):
            entries = _outside(x, center, encoder, level - bias, below)
            if entries is None or len(entries[1]) >= wanted or level == 0:
                break
        else:
            entries = None
    if entries is None:
        return _dense_batch_top_k(x, center, encoder, bias, wanted)
    return _on_support(x, center, encoder, *_largest(*entries, bias, wanted))


def select_group_top_k(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    size: int,
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) of the k groups of `size` consecutive latents whose u + bias has the largest norm in each row."""
    center = x.new_zeros(x.shape[1]) if center is None else center
    with torch.no_grad():
        most = min(k, len(encoder) // size)
        entries = path.serving(x, encoder).top_groups(x, center, encoder, bias, most, size)
    return _on_support(x, center, encoder, *entries)


def _outside(x: Tensor, center: Tensor, encoder: Tensor, high: Tensor, low: Tensor) -> Entries | None:
    limit = int(path.crossover() * len(x) * len(encoder))
    if limit == 0 and len(x):
        return None
    return path.serving(x, encoder).outside(x, center, encoder, high, low, limit)


def _dense(x: Tensor, center: Tensor, encoder: Tensor, high: Tensor, low: Tensor) -> SparseCodes:
    product = ((x - center) @ encoder.T).to(x.dtype)
    chosen = product.detach()
    return _table(product, (chosen > high) | (chosen < low))


def _table(product: Tensor, mask: Tensor) -> SparseCodes:
    support = DenseSupport(mask)
    return SparseCodes(support.confine(product), support)


def _levels(sample: Tensor, encoder: Tensor, bias: Tensor, k: int) -> list[float]:
    """Levels that keep about 1.5, 4 and 16 times k entries of each row, and zero, below which nothing is kept."""
    ranked = (sample @ encoder.T + bias).flatten()
    places = [min(int(share * k * len(sample)) + 1, len(ranked)) for share in (1.5, 4, 16) if len(ranked)]
    best = ranked.topk(max(places, default=0)).values
    return [max(float(best[place - 1]), 0.0) for place in places] + [0.0]


def _largest(offsets: Tensor, latents: Tensor, products: Tensor, bias: Tensor, wanted: int) -> Entries:
    """The `wanted` entries of the largest products + bias, in row order."""
    if len(latents) <= wanted:
        return offsets, latents, products
    keep = _best(products + bias[latents], wanted)
    rows = torch.repeat_interleave(offsets.diff(), output_size=len(latents))
    return offsets_of(torch.bincount(rows[keep], minlength=len(offsets) - 1)), latents[keep], products[keep]


def _dense_batch_top_k(x: Tensor, center: Tensor, encoder: Tensor, bias: Tensor, wanted: int) -> SparseCodes:
    product = ((x - center) @ encoder.T).to(x.dtype)
    ranks = (product.detach() + bias.detach()).nan_to_num(nan=-torch.inf).flatten()
    return _table(product, (_best(ranks, wanted) & (ranks > 0)).view_as(product))


def _best(ranks: Tensor, wanted: int) -> Tensor:
    """A mask of the `wanted` largest, of ties at the last place the first ones."""
    if len(ranks) <= wanted:
        return torch.ones_like(ranks, dtype=torch.bool)
    last = ranks.topk(wanted, sorted=False).values.min()
    keep = ranks > last
    keep[(ranks == last).nonzero().view(-1)[: wanted - int(keep.sum())]] = True
    return keep


def _on_support(
    x: Tensor, center: Tensor, encoder: Tensor, offsets: Tensor, latents: Tensor, products: Tensor
) -> SparseCodes:
    support = CsrSupport(offsets, latents, len(encoder), path.serving(x, encoder).transpose)
    if path.crossover() == 0:
        mask = torch.zeros(len(x), len(encoder), dtype=torch.bool, device=x.device)
        mask[support.rows, latents] = True
        return _table(((x - center) @ encoder.T).to(x.dtype), mask)
    return SparseCodes(_Products.apply(x, center, encoder, support, products), support)


class _Products(torch.autograd.Function):
    """Gives products that are already computed their gradients: du = g gives dW = g^T (x - c), dx = g W and dc = -(sum_b g) W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, center: Tensor, encoder: Tensor, support: CsrSupport, products: Tensor) -> Tensor:
        ctx.save_for_backward(x, center, encoder)
        ctx.support, ctx.parameter = support, encoder
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        x, center, encoder = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_x = to_center = to_encoder = None
        if ctx.needs_input_grad[0]:
            to_x = path.serving(gradient, encoder).times(ctx.support, gradient, encoder)
        if ctx.needs_input_grad[1]:
            to_center = -(path.serving(gradient, encoder).sum_by_latent(ctx.support, gradient) @ encoder)
        if ctx.needs_input_grad[2]:
            to_encoder = deliver(ctx.parameter, ctx.support, gradient, x - center)
        return to_x, to_center, to_encoder, None, None
