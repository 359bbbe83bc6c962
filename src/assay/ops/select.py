"""Which latents fire: the encoder product, kept only where a rule says so.

The result holds the bare products u = W (x - c) on the chosen support; a variant adds its biases with `codes.spread`. The B x L table
of pre-activations is never stored, unless more than `path.CROSSOVER` of it is kept, as early in training: then the whole batch takes
the dense layout, which is faster there. Supports are exact: nothing overflows, and no gradient reaches what only chooses.

Of an encoder whose rows are spread over processes each chooses among its own; what is largest among all is settled by `across`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay import ranks
from assay.codes import CsrSupport, DenseSupport, Entries, SparseCodes, offsets_of
from assay.errors import ShapeMismatch
from assay.ops import path
from assay.ops.across import Everyone, keep_largest
from assay.ops.gradient import deliver
from assay.ops.sparsemax import simplex_threshold
from assay.ranks import Shard

CANDIDATES = 16, 64
"""Fewest and most candidates a row among which a sparsemax is first sought; between them a 64th of the latents."""

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
    x, center, shard = _entering(x, center, encoder)
    with torch.no_grad():
        above = ranks.part(high, shard)
        below = torch.full_like(above, -torch.inf) if low is None else ranks.part(low, shard)
        entries = _outside(x, center, ranks.local(encoder), above, below)
    if entries is None:
        return _dense(x, center, encoder, above, below)
    return _on_support(x, center, encoder, *entries)


def products_on(
    codes: SparseCodes,
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) on the support of codes that another encoder chose for the same rows."""
    x, center, _ = _entering(x, center, encoder)
    rows, support = ranks.local(encoder), codes.support
    if not isinstance(support, CsrSupport):
        return codes.with_values(((x - center) @ rows.T).to(x.dtype))
    with torch.no_grad():
        products = path.serving(x, rows).dots(support, x - center, rows)
    return SparseCodes(_Products.apply(x, center, encoder, support, products), support)


def select_top_k(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    among: Bool[Tensor, " L"] | None = None,
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) on the k largest u + bias of each row (fewer if there are fewer); `among` allows some latents only."""
    x, center, shard = _entering(x, center, encoder)
    with torch.no_grad():
        rows, shift = ranks.local(encoder), ranks.part(bias, shard)
        allowed = None if among is None else ranks.part(among, shard).nonzero().view(-1)
        if allowed is not None:
            rows, shift = rows.index_select(0, allowed), shift.index_select(0, allowed)
        offsets, latents, products = path.serving(x, rows).top(x, center, rows, shift, min(k, len(rows)))
        if shard:
            keep = keep_largest(shard.ranks, offsets, products + shift[latents], k)
            offsets, latents, products = _kept(keep, offsets, latents, products)
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
    Where processes share the batch or the latents, the batch is that of all of them, and every level is the same for all.
    """
    x, center, shard = _entering(x, center, encoder)
    everyone = Everyone.of(shard)
    wanted = k * everyone.rows(len(x))
    with torch.no_grad():
        rows, shift = ranks.local(encoder), ranks.part(bias, shard)
        below, entries, dense = torch.full_like(shift, -torch.inf), None, False
        for level in _levels(everyone, everyone.spaced(x, SAMPLE) - center, rows, shift, k):
            entries = None if dense else _outside(x, center, rows, level - shift, below)
            dense = entries is None
            found = len(entries[1]) if entries else _limit(x, rows) + 1
            if everyone.total(found, x.device) >= wanted or level == 0:
                break
    if entries is None:
        return _dense_batch_top_k(x, center, encoder, shift.detach(), wanted, everyone)
    offsets, latents, products = entries
    row = torch.repeat_interleave(offsets.diff(), output_size=len(latents))
    keep = everyone.best(products + shift.detach()[latents], row, len(x), wanted)
    return _on_support(x, center, encoder, *_kept(keep, offsets, latents, products))


def select_group_top_k(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    size: int,
    center: Float[Tensor, " D"] | None = None,
    among: Bool[Tensor, " L"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) of the k groups of `size` consecutive latents whose u + bias has the largest norm in each row.

    Of one latent a group that is the largest |u + bias|. `among` allows some groups only, whole ones. Raises ShapeMismatch where the
    latents here are no whole number of groups.
    """
    x, center, shard = _entering(x, center, encoder)
    with torch.no_grad():
        rows, shift = ranks.local(encoder), ranks.part(bias, shard)
        if len(rows) % size:
            raise ShapeMismatch(
                f"{len(rows)} latents in groups of {size}",
                expected="whole groups, in every shard of a dictionary that is spread over processes",
                do="Choose a width, or a number of shards, that they divide.",
            )
        allowed = None if among is None else ranks.part(among, shard).nonzero().view(-1)
        if allowed is not None:
            rows, shift = rows.index_select(0, allowed), shift.index_select(0, allowed)
        entries = path.serving(x, rows).top_groups(x, center, rows, shift, min(k, len(rows) // size), size)
        if shard:
            power = (entries[2] + shift[entries[1]]).view(-1, size).square().sum(-1)
            keep = keep_largest(shard.ranks, entries[0] // size, power, k).repeat_interleave(size)
            entries = _kept(keep, *entries)
        offsets, latents, products = entries
        latents = latents if allowed is None else allowed[latents]
    return _on_support(x, center, encoder, offsets, latents, products)


def select_expert_top_k(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    k: int,
    expert: Int[Tensor, " B"],
    experts: int,
    center: Float[Tensor, " D"] | None = None,
) -> SparseCodes:
    """Products u = W (x - center) on the k largest of each row among the L / experts consecutive latents of that row's `expert`.

    Only the chosen expert's rows of the encoder meet an activation: 2 B D L / experts operations. Raises ShapeMismatch where the latents
    are no whole number of experts, or lie apart.
    """
    size = len(encoder) // experts
    if len(encoder) % experts or ranks.is_sharded(encoder):
        raise ShapeMismatch(
            f"{len(encoder)} latents for {experts} experts",
            expected="as many latents for each, all of them here",
            do="Choose a width that they divide, and train.latent_shards = 1.",
        )
    x, center, _ = _entering(x, center, encoder)
    with torch.no_grad():
        k = min(k, size)
        latents, products = expert.new_empty(len(x), k), x.new_empty(len(x), k)
        for number in expert.unique().tolist():
            rows, first = (expert == number).nonzero().view(-1), number * size
            block = encoder[first : first + size]
            _, chosen, values = path.serving(x, block).top(x[rows], center, block, block.new_zeros(size), k)
            latents[rows], products[rows] = chosen.view(-1, k) + first, values.view(-1, k).to(products)
        offsets = torch.arange(0, len(x) * k + 1, k, device=x.device)
    return _on_support(x, center, encoder, offsets, latents.flatten(), products.flatten())


def select_sparsemax(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    scale: float,
    among: Bool[Tensor, " L"] | None = None,
) -> SparseCodes:
    """Products u = W x on the support of sparsemax(scale u) in each row; `among` allows some latents only.

    The largest products of a row are candidates. While some row's candidates are all in its support there may be more, and four times
    as many are taken: the support is exact, and no table is made unless it fills one.
    """
    x, center, _ = _entering(x, None, encoder)
    with torch.no_grad():
        allowed = len(encoder) if among is None else int(among.sum())
        k, certain = min(max(allowed // 64, CANDIDATES[0]), CANDIDATES[1]), False
        while not certain:
            u = select_top_k(x, encoder, x.new_zeros(len(encoder)), k, among)
            scores = u.with_values(scale * u.values)
            above = scores.values > scores.support.spread_rows(simplex_threshold(scores))
            chosen = u.with_values(above.to(u.values.dtype))
            certain = k >= allowed or not bool((chosen.l0() >= k).any())
            k *= 4
        rows, latents, _ = chosen._entries_here()
        offsets = offsets_of(torch.bincount(rows, minlength=len(x)))
    return _on_support(x, center, encoder, offsets, latents, u.values[chosen.values != 0])


def _entering(x: Tensor, center: Tensor | None, encoder: Tensor) -> tuple[Tensor, Tensor, Shard | None]:
    """x and center, ready to meet the rows of the encoder that are here, and which rows these are."""
    center = x.new_zeros(x.shape[1]) if center is None else center
    shard = ranks.shard_of(encoder)
    return (shard.entering(x), shard.entering(center), shard) if shard else (x, center, None)


def _limit(x: Tensor, encoder: Tensor) -> int:
    """How many entries a batch may have before it goes dense."""
    return int(path.crossover() * len(x) * len(encoder))


def _outside(x: Tensor, center: Tensor, encoder: Tensor, high: Tensor, low: Tensor) -> Entries | None:
    limit = _limit(x, encoder)
    if limit == 0 and len(x):
        return None
    return path.serving(x, encoder).outside(x, center, encoder, high, low, limit)


def _dense(x: Tensor, center: Tensor, encoder: Tensor, high: Tensor, low: Tensor) -> SparseCodes:
    product = ((x - center) @ ranks.local(encoder).T).to(x.dtype)
    chosen = product.detach()
    return _table(product, (chosen > high) | (chosen < low), ranks.shard_of(encoder))


def _table(product: Tensor, mask: Tensor, shard: Shard | None) -> SparseCodes:
    support = DenseSupport(mask, shard)
    return SparseCodes(support.confine(product), support)


def _levels(everyone: Everyone, sample: Tensor, encoder: Tensor, bias: Tensor, k: int) -> list[float]:
    """Levels that keep about 1.5, 4 and 16 times k entries of each row, and zero, below which nothing is kept."""
    ranked = (sample @ encoder.T + bias).flatten()
    rows = everyone.total(len(sample), sample.device) // (everyone.shards.size if everyone.shards else 1)
    wanted = [int(share * k * rows) + 1 for share in (1.5, 4, 16)]
    best = everyone.highest(ranked, max(wanted), sort=True)
    return [max(float(best[min(place, len(best)) - 1]), 0.0) for place in wanted if len(best)] + [0.0]


def _kept(keep: Tensor, offsets: Tensor, latents: Tensor, products: Tensor) -> Entries:
    """The entries that `keep` says, in row order."""
    rows = torch.repeat_interleave(offsets.diff(), output_size=len(latents))
    return offsets_of(torch.bincount(rows[keep], minlength=len(offsets) - 1)), latents[keep], products[keep]


def _dense_batch_top_k(
    x: Tensor, center: Tensor, encoder: Tensor, bias: Tensor, wanted: int, everyone: Everyone
) -> SparseCodes:
    product = ((x - center) @ ranks.local(encoder).T).to(x.dtype)
    scores = (product.detach() + bias).nan_to_num(nan=-torch.inf).flatten()
    rows = torch.arange(len(x), device=x.device).repeat_interleave(product.shape[1])
    keep = everyone.best(scores, rows, len(x), wanted) & (scores > 0)
    return _table(product, keep.view_as(product), ranks.shard_of(encoder))


def _on_support(
    x: Tensor, center: Tensor, encoder: Tensor, offsets: Tensor, latents: Tensor, products: Tensor
) -> SparseCodes:
    shard, rows = ranks.shard_of(encoder), ranks.local(encoder)
    support = CsrSupport(offsets, latents, len(rows), path.serving(x, rows).transpose, shard)
    if path.crossover() == 0:
        mask = torch.zeros(len(x), len(rows), dtype=torch.bool, device=x.device)
        mask[support.rows, latents] = True
        return _table(((x - center) @ rows.T).to(x.dtype), mask, shard)
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
        rows, gradient = ranks.local(encoder), gradient.contiguous()
        to_x = to_center = to_encoder = None
        if ctx.needs_input_grad[0]:
            to_x = path.serving(gradient, rows).times(ctx.support, gradient, rows)
        if ctx.needs_input_grad[1]:
            to_center = -(path.serving(gradient, rows).sum_by_latent(ctx.support, gradient) @ rows)
        if ctx.needs_input_grad[2]:
            to_encoder = deliver(ctx.parameter, ctx.support, gradient, x - center)
        return to_x, to_center, to_encoder, None, None
