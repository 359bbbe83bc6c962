"""From codes back to activations: the weighted sum of the atoms that fired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay import ranks
from assay.codes import CsrSupport, SparseCodes, offsets_of
from assay.errors import ShapeMismatch
from assay.ops.gradient import deliver
from assay.ops.path import serving


def decode(codes: SparseCodes, atoms: Float[Tensor, "L D"]) -> Float[Tensor, "B D"]:
    """sum_i f_i d_i. On N entries both directions cost 2 N D operations; no B x L table is built. Raises ShapeMismatch."""
    _check(codes, atoms)
    if isinstance(codes.support, CsrSupport):
        return codes.support.over_latents(_Decode.apply(codes.values, atoms, codes.support))  # pyright: ignore
    product = codes.values @ ranks.local(atoms)
    return codes.support.over_latents(
        product.to(codes.values.dtype)
    )  # autocast makes it narrower than what other shards send


def decode_pair(
    codes: SparseCodes, others: SparseCodes, atoms: Float[Tensor, "L D"], *, frozen: bool
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """decode(codes, atoms) and decode(others, atoms), with one reading of the atoms when both have the same support.

    With `frozen` the second gives the atoms no gradient. Raises ShapeMismatch.
    """
    if codes.support is others.support and isinstance(codes.support, CsrSupport):
        _check(codes, atoms)
        pair = _DecodePair.apply(codes.values, others.values, atoms, codes.support, frozen)  # pyright: ignore
        return codes.support.over_latents(pair[0]), codes.support.over_latents(pair[1])
    return decode(codes, atoms), decode(others, atoms.detach() if frozen else atoms)


def decode_nested(codes: SparseCodes, atoms: Float[Tensor, "L D"], ends: Sequence[int]) -> Float[Tensor, "G B D"]:
    """sum_{i < e} f_i d_i for each end e: reconstructions by nested prefixes of the latents, at the cost of one decode.

    `ends` rise, the last being L. Entries are told apart by the prefix that first holds them, and decoded as rows of their own; running
    sums of these are the reconstructions. Raises ShapeMismatch.
    """
    _check(codes, atoms)
    support, rows = codes.support, len(codes)
    first = support.shard.first if support.shard else 0
    if not isinstance(support, CsrSupport):
        here = [min(max(end - first, 0), support.width) for end in (0, *ends)]
        held = ranks.local(atoms)
        parts = [codes.values[:, low:high] @ held[low:high] for low, high in pairwise(here)]
        return support.over_latents(torch.stack(parts).to(codes.values.dtype).cumsum(0))
    part = torch.bucketize(support.indices + first, torch.tensor(ends, device=support.indices.device), right=True)
    order = part.argsort(stable=True)
    offsets = offsets_of(torch.bincount(part * rows + support.rows, minlength=len(ends) * rows))
    by_part = replace(support, offsets=offsets, indices=support.indices[order])
    return decode(SparseCodes(codes.values[order], by_part), atoms).unflatten(0, (len(ends), rows)).cumsum(0)


def _check(codes: SparseCodes, atoms: Tensor) -> None:
    if codes.support.shard != ranks.shard_of(atoms):
        raise ShapeMismatch(
            f"codes of latents {_extent(codes.support.shard)}, and atoms of latents {_extent(ranks.shard_of(atoms))}",
            expected="the same on both sides, where a dictionary is spread over processes",
            do="Make codes with the selections of `ops`.",
        )


def _extent(shard: ranks.Shard | None) -> str:
    return f"{shard.first} to {shard.first + shard.held - 1} of {shard.width}" if shard else "all together"


class _Decode(torch.autograd.Function):
    """y = V A; dV = (g . A) on the support, dA = V^T g."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, atoms: Tensor, support: CsrSupport) -> Tensor:
        ctx.save_for_backward(values, atoms)
        ctx.support, ctx.parameter = support, atoms
        rows = ranks.local(atoms)
        return serving(values, rows).times(support, values, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore
        values, atoms = ctx.saved_tensors
        rows, gradient = ranks.local(atoms), gradient.contiguous()
        to_values = serving(gradient, rows).dots(ctx.support, gradient, rows) if ctx.needs_input_grad[0] else None
        to_atoms = deliver(ctx.parameter, ctx.support, values, gradient) if ctx.needs_input_grad[1] else None
        return to_values, to_atoms, None


class _DecodePair(torch.autograd.Function):
    """y = V A and z = U A; dV = (g . A), dU = (h . A) on the support, dA = V^T g, plus U^T h unless frozen."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, others: Tensor, atoms: Tensor, support: CsrSupport, frozen: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(values, others, atoms)
        ctx.support, ctx.parameter, ctx.frozen = support, atoms, frozen
        rows = ranks.local(atoms)
        return serving(values, rows).times_pair(support, values, others, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, other: Tensor):  # pyright: ignore
        values, others, atoms = ctx.saved_tensors
        rows, gradient, other = ranks.local(atoms), gradient.contiguous(), other.contiguous()
        to_values, to_others = serving(gradient, rows).dots_pair(ctx.support, gradient, other, rows)
        to_atoms = None
        if ctx.needs_input_grad[2]:
            to_atoms = deliver(ctx.parameter, ctx.support, values, gradient)
            if not ctx.frozen:
                more = deliver(ctx.parameter, ctx.support, others, other)
                to_atoms = more if to_atoms is None or more is None else to_atoms + more
        return to_values, to_others, to_atoms, None, None
