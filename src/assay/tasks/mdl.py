"""Description length: how many bits a row of activations takes when a dictionary describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from assay.analysis.description_length import description_length, gaussian_bits
from assay.dictionary import Dictionary
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

FEWEST = 256
"""Rows from which densities can be read at all."""


class DescriptionLengths(Task, name="mdl", suite="probing", paper="arXiv:2410.11179"):
    """Bits a row of which latents fire, of their binned values, and of what is left to describe to the same accuracy.

    `analysis.description_length` has the formulas. `codes` alone is what the literature gives; it compares dictionaries of equal
    explained variance only, and a dictionary that never fires has 0. `bits` adds the price of what is left, down to the same error for
    all, so that it compares any two; `ceiling` is that price without a dictionary.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {
        "bits": ScoreKind("which + values + rest, to an explained variance of 1 - tolerance", "lower", "bits a row"),
        "codes": ScoreKind("which + values", "lower", "bits a row"),
        "which": ScoreKind("Σ_l H(p_l), p_l the density of latent l", "lower", "bits a row"),
        "values": ScoreKind("L0 · H(bin of a value)", "lower", "bits a row"),
        "rest": ScoreKind(
            "Σ_d max(0, log2(v_d / θ)) / 2, v_d the variances of x - x̂, Σ_d min(v_d, θ) the tolerated error",
            "lower",
            "bits a row",
        ),
        "ceiling": ScoreKind("rest with the mean as the reconstruction", "target", "bits a row"),
        "explained_variance": ScoreKind("1 - Σ‖x - x̂‖² / Σ‖x - E x‖²", "higher"),
    }

    class Config(Task.Config):
        """Settings of the description."""

        rows: int = Field(default=8192, ge=FEWEST)
        """Rows that are described, the first of the bench's sample."""
        tolerance: float = Field(default=0.01, gt=0, lt=1)
        """Explained variance that binning may cost, and share of the variance that may stay undescribed."""

    settings: Config

    def prepare(self) -> None:
        """The rows, and what they cost without a dictionary. Raises NotApplicable."""
        self.x = self.bench.sample[: self.settings.rows].float()
        if len(self.x) < FEWEST:
            raise NotApplicable(f"the bench has {len(self.x)} rows; densities need {FEWEST} at least")
        away = self.x.double() - self.x.double().mean(0)
        self.ceiling = gaussian_bits(away.T @ away, self.settings.tolerance * float(away.square().sum()))

    def score(self, dictionary: Dictionary) -> Scores:
        found = description_length(dictionary, self.x, tolerance=self.settings.tolerance)
        values = {
            "bits": found.total,
            "codes": found.codes,
            "which": found.which,
            "values": found.values,
            "rest": found.rest,
            "ceiling": self.ceiling,
            "explained_variance": found.explained_variance,
        }
        binned = found.explained_variance_binned
        return Scores(values, {"l0": found.l0, "bin_width": found.width, "explained_variance_binned": binned})

    def cost(self) -> tuple[Cost, Cost]:
        return Cost(seconds=0.5), Cost(seconds=2.5 * self.settings.rows / 8192)
