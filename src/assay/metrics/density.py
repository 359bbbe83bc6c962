"""How often each latent fires: dense latents and rare ones, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from assay.metric import Metric, Rows

BINS_PER_DECADE = 4
"""Finer bins would stand empty where latents fired once, twice, three times."""


@dataclass(frozen=True)
class Histogram:
    """Latents by how often they fire. Edges depend on the number of rows alone, so dictionaries can be laid over each other."""

    edges: tuple[float, ...]
    """Bounds of the bins, log10 of the share of rows; one more than bins. The last bin holds its upper bound."""
    counts: tuple[int, ...]
    """Latents in each bin."""
    dead: int
    """Latents that never fired, in no bin."""


class Density(Metric, name="density", unit="share of tokens, median latent", better="target", reads="rows"):
    """median over latents that fired of E 1[f_l ≠ 0]

    `histogram` has the whole distribution. Not defined when none fired.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.firings: np.ndarray = np.zeros(0)

    def update(self, batch: Rows) -> None:
        if len(batch.codes):
            self.rows += len(batch.codes)
            self.firings = batch.codes.firings().double().cpu().numpy() + (self.firings if len(self.firings) else 0)

    def value(self) -> float:
        alive = self.firings[self.firings > 0]
        return float(np.median(alive) / self.rows) if len(alive) else float("nan")

    def histogram(self) -> Histogram:
        """Quarter-decade bins, from the decade of one firing in all rows up to every row."""
        alive = self.firings[self.firings > 0]
        decades = max(math.ceil(math.log10(max(self.rows, 1))), 1)
        edges = np.linspace(-decades, 0, decades * BINS_PER_DECADE + 1)
        counts, _ = np.histogram(np.clip(np.log10(alive) - np.log10(max(self.rows, 1)), -decades, 0), edges)
        return Histogram(tuple(edges.tolist()), tuple(counts.tolist()), len(self.firings) - len(alive))
