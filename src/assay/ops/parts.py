"""Atoms that consist of parts, one for each of several tensors that stand side by side."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def part_norms(atoms: Float[Tensor, "L D"], parts: int) -> Float[Tensor, "L parts"]:
    """||d_i^l|| of so many consecutive parts of equal width. At zero the gradient is zero."""
    return atoms.unflatten(1, (parts, -1)).norm(dim=-1)
