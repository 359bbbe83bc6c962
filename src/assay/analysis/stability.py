"""What two dictionaries of the same activations have in common: latents matched one to one, and those that only one of them has.

Dictionaries of two seeds learn the same directions in part (arXiv:2501.16615, arXiv:2505.20254). What only one seed finds is no property
of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.analysis.assignment import assign
from assay.dictionary import Dictionary
from assay.errors import ConfigError, ShapeMismatch

SAME = 0.7
"""Cosine from which two atoms count as the same direction, as in arXiv:2501.16615."""
MOST = 16_384
"""Latents that are matched exactly: the table of cosines and the time to match grow with their square."""


@dataclass(frozen=True, eq=False)
class Match:
    """Latents of two dictionaries, of those that are compared."""

    first: Int[Tensor, " K"]
    """Latents of the first that have a partner, rising."""
    second: Int[Tensor, " K"]
    """The partner of each."""
    cosine: Float[Tensor, " K"]
    """Of each pair's atoms; |cosine| where codes have signs."""
    nearest: Float[Tensor, " N"]
    """Largest cosine of each compared latent of the first with any of the second."""
    nearest_back: Float[Tensor, " M"]
    """Of each of the second with any of the first."""

    def consistency(self) -> float:
        """Mean cosine of the pairs (PW-MCC): 1 where one is the other in another order."""
        return float(self.cosine.mean())

    def shared(self) -> float:
        """Share of the pairs that are the same direction."""
        return float((self.cosine >= SAME).double().mean())

    def exclusive(self) -> tuple[float, float]:
        """Share of each dictionary's latents that are near to none of the other's."""
        return float((self.nearest < SAME).double().mean()), float((self.nearest_back < SAME).double().mean())


@torch.no_grad()
def match(
    first: Dictionary,
    second: Dictionary,
    alive: tuple[Bool[Tensor, " L"] | None, Bool[Tensor, " M"] | None] = (None, None),
) -> Match:
    """Pair latents such that the cosines of their atoms add up to the most (the Hungarian method); of the `alive` ones where given.

    Raises ShapeMismatch for atoms of different width, ConfigError for more latents than can be matched, or none.
    """
    if first.config.d_out != second.config.d_out:
        raise ShapeMismatch(
            f"atoms that are {first.config.d_out} and {second.config.d_out} wide",
            expected="two dictionaries of the same activations",
            do="Choose two of one site.",
        )
    chosen = [_chosen(each, mask) for each, mask in zip((first, second), alive, strict=True)]
    ours, theirs = (_directions(each)[kept] for each, kept in zip((first, second), chosen, strict=True))
    cosines = ours @ theirs.T
    if first.signed or second.signed:
        cosines = cosines.abs()
    rows, columns = assign(cosines)
    return Match(
        first=chosen[0][rows],
        second=chosen[1][columns],
        cosine=cosines[rows, columns],
        nearest=cosines.amax(1),
        nearest_back=cosines.amax(0),
    )


def chance(width: int, latents: tuple[int, int], seed: int = 0) -> float:
    """Consistency of two dictionaries of random directions: what a pair that shares nothing gets."""
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = (torch.nn.functional.normalize(torch.randn(n, width, generator=generator), dim=1) for n in latents)
    cosines = ours @ theirs.T
    return float(cosines[assign(cosines)].mean())


def _chosen(dictionary: Dictionary, alive: Bool[Tensor, " L"] | None) -> Int[Tensor, " N"]:
    width = dictionary.config.width
    kept = torch.arange(width) if alive is None else alive.nonzero().view(-1)
    if not 0 < len(kept) <= MOST:
        raise ConfigError(
            f"{len(kept):,} latents to match, of {width:,}",
            expected=f"1 to {MOST:,}",
            do="Compare narrower dictionaries, or a sample of latents, as `alive`.",
        )
    return kept


def _directions(dictionary: Dictionary) -> Float[Tensor, "L D"]:
    return torch.nn.functional.normalize(dictionary.atoms.detach().float(), dim=1)
