"""Which latents fire in the same rows: of one dictionary, of two, or of latents and labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.codes import SparseCodes

ROWS_AT_ONCE = 2048
"""Rows whose pairs of entries are listed at once."""


@dataclass(frozen=True, eq=False)
class CoFirings:
    """How often each of S latents fires, each of L others, and each of both in one row, of `rows` rows."""

    rows: int
    here: Int[Tensor, " S"]
    there: Int[Tensor, " L"]
    both: Int[Tensor, "S L"]

    def phi(self) -> Float[Tensor, "S L"]:
        """Pearson correlation of firing: (N11 n - N1i N1j) / sqrt(N1i (n - N1i) N1j (n - N1j)); NaN where one always or never fires."""
        here, there, n = self.here.double()[:, None], self.there.double(), self.rows
        return (self.both.double() * n - here * there) / (here * (n - here)).sqrt() / (there * (n - there)).sqrt()

    def f1(self) -> Float[Tensor, "S L"]:
        """2 N11 / (N1i + N1j): how well the firing of one tells that of the other; 0 where neither fires."""
        return 2 * self.both.double() / (self.here[:, None] + self.there).clamp_min(1)


def co_firings(pairs: Iterable[tuple[SparseCodes, SparseCodes]]) -> CoFirings:
    """Count over batches of two codes of the same rows."""
    rows, total = 0, None
    for here, there in pairs:
        found = here.firings().long(), there.firings().long(), _together(here, there)
        total = found if total is None else tuple(a + b for a, b in zip(total, found, strict=True))
        rows += len(here)
    if total is None:
        raise ValueError("no batches")
    return CoFirings(rows, *total)


def mean_absolute_phi(fires: CoFirings) -> float:
    """Mean |phi| over pairs of different latents of one dictionary, both of which fire in some rows and not in all."""
    phi = fires.phi()
    phi.fill_diagonal_(torch.nan)
    return float(phi.abs().nanmean())


def _together(here: SparseCodes, there: SparseCodes) -> Int[Tensor, "S L"]:
    """Rows in which both fire. Each pair of entries of a row is listed: no table of rows x latents."""
    count = torch.zeros(here.width * there.width, dtype=torch.int64)
    (rows, ours, _), (their_rows, theirs, _) = here.entries(), there.entries()
    lengths = torch.bincount(their_rows, minlength=len(there))
    starts = lengths.cumsum(0) - lengths
    for first in range(0, len(here), ROWS_AT_ONCE):
        low, high = torch.searchsorted(rows, torch.tensor([first, first + ROWS_AT_ONCE])).tolist()
        row, latent = rows[low:high], ours[low:high]
        repeats = lengths[row]
        within = torch.arange(int(repeats.sum())) - (repeats.cumsum(0) - repeats).repeat_interleave(repeats)
        other = theirs[starts[row].repeat_interleave(repeats) + within]
        count += torch.bincount(latent.repeat_interleave(repeats) * there.width + other, minlength=len(count))
    return count.view(here.width, there.width)
