"""What a dictionary trained on another's atoms (`training.train_on_atoms`) says of them: which are composed, and of what."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes
from assay.dictionary import Dictionary


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The L atoms of a dictionary by those of a meta dictionary."""

    codes: SparseCodes
    """Which meta-latents make each atom, and how strongly."""
    left: Float[Tensor, " L"]
    """||d_i - dhat_i||^2: 1 for a unit atom of which nothing is explained."""
    spread: float
    """sum_i ||d_i - mean d||^2."""

    @property
    def explained_variance(self) -> float:
        """1 - sum ||d_i - dhat_i||^2 / sum ||d_i - mean d||^2."""
        return 1 - float(self.left.sum()) / self.spread

    def shares(self) -> Float[Tensor, " L"]:
        """What explained variance is the mean of, atom by atom: 1 - L ||d_i - dhat_i||^2 / sum_j ||d_j - mean d||^2."""
        return 1 - len(self.left) * self.left / self.spread

    def parts_of(self, latent: int) -> list[tuple[int, float]]:
        """Meta-latents of one atom with their values, strongest first."""
        rows, latents, values = self.codes.entries()
        own = rows == latent
        pairs = zip(latents[own].tolist(), values[own].tolist(), strict=True)
        return sorted(pairs, key=lambda pair: -abs(pair[1]))


@torch.no_grad()
def decompose(dictionary: Dictionary, meta: Dictionary) -> Decomposition:
    """Encode every atom with a meta dictionary, and decode it again. Raises ShapeMismatch."""
    atoms = dictionary.atoms.detach()
    codes = meta.encode(atoms)
    left = (atoms - meta.decode(codes, atoms)).double().square().sum(-1)
    return Decomposition(codes, left, float((atoms - atoms.mean(0)).double().square().sum()))
