"""What becomes of a latent in a wider dictionary of the same activations: kept, split into several, or gone (Templeton et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.analysis.cofiring import CoFirings, co_firings
from assay.dictionary import Dictionary
from assay.errors import ShapeMismatch


@dataclass(frozen=True, eq=False)
class Splitting:
    """The S latents of a narrow dictionary and the L of a wide one."""

    cosine: Float[Tensor, "S L"]
    """Of their atoms, in the units of the activations."""
    fires: CoFirings
    is_child: Bool[Tensor, "S L"]

    def children(self, latent: int) -> list[tuple[int, float, float]]:
        """(latent, cosine, share of its firings where the parent fires) of each child, nearest first."""
        found = self.is_child[latent].nonzero().view(-1).tolist()
        shares = self.fires.both[latent] / self.fires.there.clamp_min(1)
        rows = [(child, float(self.cosine[latent, child]), float(shares[child])) for child in found]
        return sorted(rows, key=lambda row: -row[1])

    def counts(self) -> Int[Tensor, " S"]:
        """How many children each latent has."""
        return self.is_child.sum(1)

    def split(self) -> float:
        """Share of the narrow one's latents that fire at all which have two children or more."""
        alive = self.fires.here > 0
        return float((self.counts()[alive] >= 2).double().mean())


@torch.no_grad()
def find_children(
    narrow: Dictionary,
    wide: Dictionary,
    batches: Iterable[Float[Tensor, "B D"]],
    *,
    cosine: float = 0.4,
    share: float = 0.5,
) -> Splitting:
    """Latent j of the wide one is a child of i where, of all the narrow one's atoms, d_i is nearest to d_j, with at least `cosine`, and
    where i fires in at least `share` of the rows in which j does. So each has one parent at most. Raises ShapeMismatch.
    """
    if narrow.config.d_out != wide.config.d_out:
        raise ShapeMismatch(
            f"atoms that are {narrow.config.d_out} and {wide.config.d_out} wide",
            expected="two dictionaries of the same activations",
            do="Choose two of one run.",
        )
    ours, theirs = (_directions(dictionary) for dictionary in (narrow, wide))
    cosines = ours @ theirs.T
    fires = co_firings((narrow.encode(x), wide.encode(x)) for x in batches)
    nearest = cosines == cosines.amax(0)
    overlap = fires.both >= (share * fires.there).clamp_min(1)
    return Splitting(cosines, fires, nearest & (cosines >= cosine) & overlap)


def _directions(dictionary: Dictionary) -> Float[Tensor, "L D"]:
    """Unit atoms in the units of what is reconstructed."""
    config = dictionary.config
    atoms = dictionary.atoms * (dictionary.target_scale if config.maps_to else dictionary.scale)
    return atoms / atoms.norm(dim=-1, keepdim=True)
