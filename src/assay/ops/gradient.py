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

from assay.codes import CsrSupport
from assay.ops.path import serving


@dataclass(frozen=True, eq=False)
class Factors:
    """V^T M [L D]: V holds `values` [N] on `support`, M is `matrix` [B D]."""

    support: CsrSupport
    values: Float[Tensor, " N"]
    matrix: Float[Tensor, "B D"]

    def table(self) -> Float[Tensor, "L D"]:
        """The product written out."""
        return serving(self.values, self.matrix).transpose_times(self.support, self.values, self.matrix)


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
        return factors.table()
    waiting.append(factors)
    return None
