"""Sparse codes of a batch: which latents fired, and how strongly.

Two layouts share one behaviour, so that no caller ever asks which one it holds: CSR (row offsets, latent indices, values) when codes
are sparse, and a dense B x L table early in training, when most latents still fire. The pattern (`Support`) is apart from the values,
because several values can live on one pattern: a Gated dictionary's gate and its codes do.

Where latents are spread over processes a support holds those of its `shard`, and every sum over latents goes over all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay import ranks
from assay.errors import ShapeMismatch
from assay.ranks import Shard


class Support(ABC):
    """Which latents are stored for which row. B rows, N stored entries."""

    width: int
    """Latents stored here: all L, or those of the shard."""
    shard: Shard | None

    @abstractmethod
    def __len__(self) -> int:
        """Rows B."""

    @abstractmethod
    def spread_here(self, vector: Float[Tensor, " H"]) -> Tensor:
        """One number for each latent stored here, laid out so that it multiplies or adds to the values entry by entry."""

    @abstractmethod
    def spread_rows_here(self, vector: Float[Tensor, " B"]) -> Tensor:
        """One number a row, laid out so that it multiplies or adds to the values entry by entry."""

    @abstractmethod
    def confine(self, values: Tensor) -> Tensor:
        """The values with everything outside the support set to zero."""

    @abstractmethod
    def per_row_here(self, values: Tensor) -> Tensor:
        """Sum of the values stored here in each row [B]."""

    @abstractmethod
    def per_latent_here(self, values: Tensor) -> Tensor:
        """Sum of the values of each latent stored here [H]."""

    @final
    def spread(self, vector: Float[Tensor, " L"]) -> Tensor:
        """One number a latent, laid out so that it multiplies or adds to the values entry by entry."""
        return self.spread_here(ranks.part(vector, self.shard))

    @final
    def spread_rows(self, vector: Float[Tensor, " B"]) -> Tensor:
        """One number a row, which every process has whole, laid out so that it multiplies or adds to the values entry by entry."""
        return self.spread_rows_here(self.shard.entering(vector) if self.shard else vector)

    @final
    def per_row(self, values: Tensor) -> Float[Tensor, " B"]:
        """Sum of the values in each row."""
        return self.over_latents(self.per_row_here(values))

    @final
    def per_latent(self, values: Tensor) -> Float[Tensor, " L"]:
        """Sum of the values of each latent, on every process; from a shard it has no gradient."""
        here = self.per_latent_here(values)
        return self.shard.ranks.stacked(here).flatten() if self.shard else here

    @final
    def over_latents(self, part: Tensor) -> Tensor:
        """What the latents stored here contribute to a sum, made the whole sum."""
        return self.shard.leaving(part) if self.shard else part


Entries = tuple[Tensor, Tensor, Tensor]
"""Stored entries in row order: where each row starts [B + 1], the latent of each [N], its value [N]."""

ByLatent = tuple[Tensor, Tensor, Tensor]
"""Entries sorted by latent, rows rising: where each latent starts [L + 1], and the row and the place in CSR order of each entry."""


def by_latent(offsets: Int[Tensor, " offsets"], indices: Int[Tensor, " N"], width: int) -> ByLatent:
    """The entries of a CSR support sorted by latent."""
    order = torch.argsort(indices, stable=True)
    rows = torch.repeat_interleave(offsets.diff(), output_size=len(indices))
    return offsets_of(torch.bincount(indices, minlength=width)), rows[order], order


def offsets_of(counts: Int[Tensor, " B"]) -> Int[Tensor, " offsets"]:
    """Where each of some groups starts, and where the last one ends."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@dataclass(frozen=True, eq=False)
class CsrSupport(Support):
    """Entries in row order: row b owns entries offsets[b] to offsets[b + 1]."""

    offsets: Int[Tensor, " offsets"]
    indices: Int[Tensor, " N"]
    width: int
    sort: Callable[..., ByLatent] = by_latent
    """How entries are sorted by latent, when that is wanted."""
    shard: Shard | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def rows(self) -> Int[Tensor, " N"]:
        """The row of each entry."""
        return torch.repeat_interleave(self.offsets.diff(), output_size=len(self.indices))

    @cached_property
    def transpose(self) -> ByLatent:
        """The same entries by latent."""
        return self.sort(self.offsets, self.indices, self.width)

    def spread_here(self, vector: Float[Tensor, " H"]) -> Float[Tensor, " N"]:
        return vector.index_select(0, self.indices)

    def spread_rows_here(self, vector: Float[Tensor, " B"]) -> Float[Tensor, " N"]:
        return vector.index_select(0, self.rows)

    def confine(self, values: Tensor) -> Tensor:
        return values

    def per_row_here(self, values: Tensor) -> Tensor:
        return values.new_zeros(len(self)).index_add(0, self.rows, values)

    def per_latent_here(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.width).index_add(0, self.indices, values)


def _check_csr(offsets: Tensor, indices: Tensor, values: int, width: int) -> None:
    ends = (int(offsets[0]), int(offsets[-1])) if len(offsets) else None
    if ends != (0, len(indices)) or len(indices) != values or bool((offsets.diff() < 0).any()):
        raise ShapeMismatch(
            f"offsets from {ends} for {len(indices)} latents and {values} values",
            expected="offsets that rise from 0 to the number of latents and of values",
            do="Give one offset more than there are rows.",
        )
    if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < width):
        raise ShapeMismatch(
            f"latents from {int(indices.min())} to {int(indices.max())}",
            expected=f"0 to {width - 1}, for {width} latents",
            do="Check the width, or the dictionary that they are from.",
        )


@dataclass(frozen=True, eq=False)
class DenseSupport(Support):
    """A mask over the whole table."""

    mask: Bool[Tensor, "B H"]
    shard: Shard | None = None

    @property
    def width(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.mask.shape[1]

    def __len__(self) -> int:
        return len(self.mask)

    def spread_here(self, vector: Float[Tensor, " H"]) -> Float[Tensor, " H"]:
        return vector

    def spread_rows_here(self, vector: Float[Tensor, " B"]) -> Float[Tensor, "B 1"]:
        return vector[:, None]

    def confine(self, values: Tensor) -> Tensor:
        return torch.where(self.mask, values, 0)

    def per_row_here(self, values: Tensor) -> Tensor:
        return values.sum(1)

    def per_latent_here(self, values: Tensor) -> Tensor:
        return values.sum(0)


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """Codes of B rows over `width` latents. A stored value of zero is not active: it decodes to nothing and L0 leaves it out."""

    values: Tensor
    support: Support

    @classmethod
    def dense(cls, table: Float[Tensor, "B L"]) -> SparseCodes:
        """Codes from a full table; its zeros are inactive."""
        return cls(table, DenseSupport(table != 0))

    @classmethod
    def csr(
        cls, offsets: Int[Tensor, " offsets"], indices: Int[Tensor, " N"], values: Float[Tensor, " N"], width: int
    ) -> SparseCodes:
        """Codes from row offsets, latent indices and values. Raises ShapeMismatch, since kernels trust what a support says."""
        _check_csr(offsets, indices, len(values), width)
        return cls(values, CsrSupport(offsets, indices, width))

    def __len__(self) -> int:
        return len(self.support)

    @property
    def width(self) -> int:
        """Latents L of the dictionary."""
        return self.support.shard.width if self.support.shard else self.support.width

    def with_values(self, values: Tensor) -> SparseCodes:
        """Other values on the same support."""
        return SparseCodes(self.support.confine(values), self.support)

    def spread(self, vector: Float[Tensor, " L"]) -> Tensor:
        """One number a latent, laid out like `values`."""
        return self.support.spread(vector)

    def spread_rows(self, vector: Float[Tensor, " B"]) -> Tensor:
        """One number a row, laid out like `values`."""
        return self.support.spread_rows(vector)

    def joined(self, other: SparseCodes) -> SparseCodes:
        """Both in one, of the same rows and latents, of which none is stored in both."""
        ours, theirs = self.support, other.support
        if isinstance(ours, CsrSupport) and isinstance(theirs, CsrSupport):
            order = torch.argsort(torch.cat([ours.rows, theirs.rows]), stable=True)
            indices = torch.cat([ours.indices, theirs.indices])[order]
            support = CsrSupport(ours.offsets + theirs.offsets, indices, ours.width, ours.sort, ours.shard)
            return SparseCodes(torch.cat([self.values, other.values])[order], support)
        (values, mask), (more, others) = self._table(), other._table()
        return SparseCodes(values + more, DenseSupport(mask | others, ours.shard))

    def detach(self) -> SparseCodes:
        """The same codes, cut from the autograd graph."""
        return SparseCodes(self.values.detach(), self.support)

    def mean_row_sum(self, values: Tensor | None = None) -> Float[Tensor, ""]:
        """Mean over the rows of sum_i v_i, of these values or of others on the support: an L1 penalty where none is negative."""
        return self.support.over_latents((self.values if values is None else values).sum() / len(self))

    def least_positive(self) -> Float[Tensor, ""]:
        """The smallest positive value of the whole batch; infinity where there is none. No gradient."""
        positive = self.values.detach()[self.values > 0]
        least = positive.min() if len(positive) else self.values.new_full((), torch.inf)
        for others in (self.support.shard and self.support.shard.ranks, ranks.batch()):
            least = others.smallest(least) if others else least
        return least

    def l0(self) -> Float[Tensor, " B"]:
        """Active latents in each row."""
        return self.support.per_row((self.values.detach() != 0).float())

    def firings(self) -> Float[Tensor, " L"]:
        """Rows in which each latent is active."""
        return self.support.per_latent((self.values.detach() != 0).float())

    def entries(self) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"], Float[Tensor, " N"]]:
        """Rows, latents and values of the active entries, in row order; of a shard, those that it holds."""
        rows, latents, values = self._entries_here()
        return rows, latents + self.support.shard.first if self.support.shard else latents, values

    def to_csr(self) -> SparseCodes:
        """The same codes in CSR layout, active entries only."""
        rows, latents, values = self._entries_here()
        offsets = offsets_of(torch.bincount(rows, minlength=len(self)))
        return SparseCodes(values, CsrSupport(offsets, latents, self.support.width, shard=self.support.shard))

    def to_dense(self) -> Float[Tensor, "B L"]:
        """The full table, on every process. For small examples and tests: nothing in the package needs it."""
        rows, latents, values = self.entries()
        return self.support.over_latents(values.new_zeros(len(self), self.width).index_put((rows, latents), values))

    def _table(self) -> tuple[Tensor, Tensor]:
        """Values and mask of the latents stored here, as a table."""
        if not isinstance(self.support, CsrSupport):
            return self.values, self.support.mask  # pyright: ignore[reportAttributeAccessIssue]
        place, shape = (self.support.rows, self.support.indices), (len(self), self.support.width)
        mask = torch.zeros(shape, dtype=torch.bool, device=self.values.device)
        mask[place] = True
        return self.values.new_zeros(shape).index_put(place, self.values), mask

    def _entries_here(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, places among the latents stored here, and values of the active entries."""
        if isinstance(self.support, CsrSupport):
            active = self.values != 0
            return self.support.rows[active], self.support.indices[active], self.values[active]
        rows, latents = self.values.nonzero(as_tuple=True)
        return rows, latents, self.values[rows, latents]
