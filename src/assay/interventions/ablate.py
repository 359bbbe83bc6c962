"""Silence latents: what the model does without them, everything else in the activation as it was."""

from __future__ import annotations

from collections.abc import Iterable

from assay.codes import SparseCodes
from assay.edit import Edit
from assay.errors import ShapeMismatch


class Ablate(Edit, name="ablate"):
    """f_l = 0 for the chosen latents. Raises ShapeMismatch for a latent that the dictionary does not have."""

    def __init__(self, latents: Iterable[int]) -> None:
        self.latents = sorted(set(latents))

    def __call__(self, codes: SparseCodes) -> SparseCodes:
        foreign = [latent for latent in self.latents if not 0 <= latent < codes.width]
        if foreign:
            raise ShapeMismatch(
                f"there is no latent {foreign[0]}",
                expected=f"0 to {codes.width - 1:,}",
                do="Name latents of this dictionary.",
            )
        stays = codes.values.new_ones(codes.width)
        stays[self.latents] = 0
        return codes.with_values(codes.values * codes.spread(stays))
