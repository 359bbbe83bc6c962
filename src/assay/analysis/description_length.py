"""What activations cost in bits when a dictionary describes them: which latents fire, how strongly, and what is left over.

Few active latents are cheap and so is explaining nothing; only the bits of what is left make dictionaries of unlike explained variance
comparable (the description length of arXiv:2410.11179, with the remainder added). The dictionary itself is taken as known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes
from assay.dictionary import Dictionary

CHUNK = 2048
"""Rows that are encoded and decoded at once."""
OCTAVES, FINE = 40, 6
"""Halvings of the width until it is fine enough, and bisections of the last one."""


@dataclass(frozen=True)
class DescriptionLength:
    """Bits a row, and what they buy."""

    which: float
    """sum_l H(p_l): which latents fire, each by its own coin whose chance p_l is its density."""
    values: float
    """L0 times the entropy of the binned values, one table of frequencies for all latents."""
    rest: float
    """What a Gaussian code takes to bring the error down to the tolerated one (`gaussian_bits`)."""
    width: float
    """Width of the bins, in raw units of the activation: a bin of latent l is width / ||d_l|| wide."""
    l0: float
    explained_variance: float
    """1 - E||x - xhat||^2 / E||x - E x||^2, values as they are."""
    explained_variance_binned: float
    """The same with values in the middle of their bins."""

    @property
    def codes(self) -> float:
        """Bits of the codes alone."""
        return self.which + self.values

    @property
    def total(self) -> float:
        """Bits of a description that explains 1 - tolerance of the variance, whatever the dictionary explains."""
        return self.which + self.values + self.rest


@torch.no_grad()
def description_length(
    dictionary: Dictionary, x: Float[Tensor, "N D"], *, tolerance: float = 0.01
) -> DescriptionLength:
    """Bits that N raw rows take, each, under a dictionary. Raises ShapeMismatch.

        which   sum_l -p_l log2 p_l - (1 - p_l) log2(1 - p_l)
        values  L0 * (-sum_b q_b log2 q_b),  q_b the share of active values f_l ||d_l|| whose nearest multiple of `width` is b
        width   the coarsest that costs at most `tolerance` of explained variance, to a 64th of an octave
        rest    `gaussian_bits` of E e e^T, e = x - xhat from binned values, down to tolerance * E||x - E x||^2

    A code of independent coins leaves out that latents come together, so it is what a reader pays who knows only their densities.
    Sums are in float64. The table of value frequencies isn't paid for; being one for all latents it is small.
    """
    rows = x.split(CHUNK)
    codes = [dictionary.encode(part).to_csr() for part in rows]
    lengths = (dictionary.atoms * dictionary.scale).double().norm(dim=-1)
    sizes = torch.cat([part.values.double() * part.spread(lengths) for part in codes])
    spread = float((x.double() - x.double().mean(0)).square().sum())
    counts = torch.stack([part.firings() for part in codes]).double().sum(0)

    def error(width: float) -> float:
        parts = zip(rows, codes, strict=True)
        return sum(float(_left(dictionary, lengths, part, code, width).square().sum()) for part, code in parts)

    exact = error(0.0)
    width = _coarsest(lambda width: error(width) <= exact + tolerance * spread, sizes)
    moment = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for part, code in zip(rows, codes, strict=True):
        left = _left(dictionary, lengths, part, code, width)
        moment += left.T @ left
    return DescriptionLength(
        which=float(_coin(counts / len(x)).sum()),
        values=len(sizes) / len(x) * _entropy(sizes, width),
        rest=gaussian_bits(moment, tolerance * spread),
        width=width,
        l0=len(sizes) / len(x),
        explained_variance=1 - exact / spread,
        explained_variance_binned=1 - float(moment.trace()) / spread,
    )


def gaussian_bits(moment: Float[Tensor, "D D"], allowed: float) -> float:
    """Bits a row that a Gaussian of this second moment takes down to an allowed squared error (reverse water-filling).

    sum_d max(0, log2(v_d / theta)) / 2,  v_d the eigenvalues of the moment, theta such that sum_d min(v_d, theta) = allowed.
    """
    variances = torch.linalg.eigvalsh(moment).clamp_min(0.0)
    low, high = 0.0, float(variances.amax())
    for _ in range(100):
        theta = (low + high) / 2
        low, high = (theta, high) if float(variances.clamp_max(theta).sum()) < allowed else (low, theta)
    return float((variances / high).clamp_min(1.0).log2().sum()) / 2 if high else 0.0


def _left(
    dictionary: Dictionary, lengths: Float[Tensor, " L"], x: Float[Tensor, "B D"], codes: SparseCodes, width: float
) -> Float[Tensor, "B D"]:
    """x - xhat in float64, values moved to the middle of their bins; a width of zero leaves them."""
    if width:
        bins = width / codes.spread(lengths).clamp_min(torch.finfo(torch.float64).tiny)
        codes = codes.with_values(((codes.values.double() / bins).round() * bins).to(codes.values.dtype))
    return x.double() - dictionary.decode(codes, x).double()


def _coarsest(keeps: Callable[[float], bool], sizes: Float[Tensor, " N"]) -> float:
    """The coarsest width that keeps what it must: from where every value is zero down by halves, then between the last two."""
    width = 2 * float(sizes.abs().amax()) if len(sizes) else 0.0
    if keeps(width):
        return width
    for _ in range(OCTAVES):
        width /= 2
        if keeps(width):
            break
    step = 2.0
    for _ in range(FINE):
        step **= 0.5
        width = width * step if keeps(width * step) else width
    return width


def _coin(p: Float[Tensor, " L"]) -> Float[Tensor, " L"]:
    """Entropy of a coin in bits."""
    return -(torch.special.xlogy(p, p) + torch.special.xlogy(1 - p, 1 - p)) / torch.log(torch.tensor(2.0).double())


def _entropy(sizes: Float[Tensor, " N"], width: float) -> float:
    """Entropy in bits of values rounded to multiples of a width."""
    if not len(sizes) or not width:
        return 0.0
    _, counts = (sizes / width).round().unique(return_counts=True)
    share = counts.double() / len(sizes)
    return float(-(share * share.log2()).sum())
