"""The gradients of encoder and atoms, kept as the factors V^T M that backward makes, until an optimiser takes them row by row.

A sparse step touches few rows, and its gradient is one pass over the entries. Written out as an L x D table it would be made, read,
projected, squared and thrown away: more traffic than the step itself. Outside `gathered` gradients are ordinary tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from assay import ranks
from assay.codes import CsrSupport, offsets_of
from assay.ops.path import serving
from assay.ranks import Ranks


@dataclass(frozen=True, eq=False)
class Factors:
    """V^T M [L D]: V holds `values` [N] on `support`, M is `matrix` [B D]."""

    support: CsrSupport
    values: Float[Tensor, " N"]
    matrix: Float[Tensor, "B D"]

    def table(self) -> Float[Tensor, "L D"]:
        """The product written out."""
        return serving(self.values, self.matrix).transpose_times(self.support, self.values, self.matrix)

    def size(self) -> int:
        """Bytes that `over` sends."""
        matrix = self.matrix.numel() * self.matrix.element_size()
        return matrix + len(self.values) * (4 + self.values.element_size()) + 8 * len(self.support)

    def over(self, parts: Ranks, supports: dict[int, CsrSupport]) -> Factors:
        """The same of the whole batch that `parts` share, its rows in order: V and M of all, one below another.

        `supports` remembers by identity those that were brought together before.
        """
        if (known := supports.get(id(self.support))) is None:
            known = supports[id(self.support)] = _together(self.support, parts)
        return Factors(known, parts.joined(self.values), parts.stacked(self.matrix).flatten(0, 1))


def _together(support: CsrSupport, parts: Ranks) -> CsrSupport:
    offsets = offsets_of(parts.stacked(support.offsets.diff()).flatten())
    return CsrSupport(offsets, parts.joined(support.indices.int()).long(), support.width, support.sort, support.shard)


_GATHERED: dict[int, list[Factors]] = {}
"""By the identity of a parameter, what backward has left for it so far."""


@contextmanager
def gathered(parameters: Iterable[Tensor]) -> Iterator[dict[int, list[Factors]]]:
    """Inside the block backward leaves these parameters' sparse gradients here, by id(parameter), and not in `.grad`.

    Gradients that reach a parameter in another way still go to `.grad`: the sum of both is the gradient.
    """
    mine: dict[int, list[Factors]] = {id(parameter): [] for parameter in parameters}
    _GATHERED.update(mine)
    try:
        yield mine
    finally:
        for key in mine:
            del _GATHERED[key]


def deliver(
    parameter: Tensor, support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "B D"]
) -> Float[Tensor, "L D"] | None:
    """The gradient V^T M for autograd, or None when it was left with whoever gathers."""
    factors = Factors(support, values, matrix)
    if (waiting := _GATHERED.get(id(parameter))) is None:
        return ranks.like(factors.table(), parameter)
    waiting.append(factors)
    return None
