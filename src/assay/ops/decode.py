"""From codes back to activations: the weighted sum of the atoms that fired."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay.codes import CsrSupport, SparseCodes
from assay.ops import sparse


def decode(codes: SparseCodes, atoms: Float[Tensor, "L D"]) -> Float[Tensor, "B D"]:
    """sum_i f_i d_i. On CSR codes both directions cost 2 N D operations an entry list of N; no B x L table is built."""
    if isinstance(codes.support, CsrSupport):
        return _Decode.apply(codes.values, atoms, codes.support)  # pyright: ignore[reportReturnType]
    return codes.values @ atoms


class _Decode(torch.autograd.Function):
    """y = V A; dV = (g . A) on the support, dA = V^T g."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, atoms: Tensor, support: CsrSupport) -> Tensor:
        ctx.save_for_backward(values, atoms)
        ctx.support = support
        return sparse.times(support, values, atoms)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore
        values, atoms = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_values = sparse.dots(ctx.support, gradient, atoms) if ctx.needs_input_grad[0] else None
        to_atoms = sparse.transpose_times(ctx.support, values, gradient) if ctx.needs_input_grad[1] else None
        return to_values, to_atoms, None
