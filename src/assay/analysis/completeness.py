"""Which concepts have a latent of their own, by how common they are (Templeton et al. 2024, "feature completeness")."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.analysis.cofiring import co_firings
from assay.codes import SparseCodes

SELECTIVE = 0.5
"""Least F1 of a latent that counts as a concept's own."""
RIDGE = 1e-3
"""Keeps the slope finite where the two groups don't overlap."""


@dataclass(frozen=True, eq=False)
class Completeness:
    """A curve P(a concept of frequency p has its own latent) = 1 / (1 + exp(-slope (log p - log half)))."""

    frequency: Float[Tensor, " C"]
    """Share of rows that each concept is in; concepts that are in too few are left out."""
    best_f1: Float[Tensor, " C"]
    """Of the latent that tells it best."""
    slope: float
    """For one step of log frequency."""
    half: float
    """Frequency at which half of the concepts have a latent; NaN where the curve is flat."""

    def covered(self) -> float:
        """Share of the concepts with a latent of their own."""
        return float((self.best_f1 >= SELECTIVE).double().mean())


@torch.no_grad()
def completeness(pairs: Iterable[tuple[SparseCodes, SparseCodes]], *, least: int = 10) -> Completeness:
    """From batches of (concepts as codes: which are in each row, latents as codes). Concepts in fewer than `least` rows are left out."""
    fires = co_firings(pairs)
    common = fires.here >= least
    frequency = fires.here[common].double() / fires.rows
    best = fires.f1()[common].amax(1)
    intercept, slope = logistic(frequency.log(), best >= SELECTIVE)
    exponent = -intercept / slope if slope else math.nan
    return Completeness(frequency, best, slope, math.exp(exponent) if exponent < 700 else math.inf)


def logistic(x: Float[Tensor, " C"], yes: Bool[Tensor, " C"]) -> tuple[float, float]:
    """(intercept, slope) of the logistic regression of `yes` on x, by Newton's method; the slope has a small ridge penalty."""
    x, y = x.double(), yes.double()
    center, spread = x.mean(), x.std().clamp_min(1e-12)
    design = torch.stack([torch.ones_like(x), (x - center) / spread], 1)
    weights, ridge = design.new_zeros(2), RIDGE * len(x) * torch.eye(2, dtype=torch.float64)
    for _ in range(100):
        chance = (design @ weights).sigmoid()
        slope = design.T @ (y - chance) - ridge @ weights
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + ridge
        step = torch.linalg.solve(curvature, slope)
        weights = weights + step
        if float(step.abs().max()) < 1e-10:
            break
    slope = float(weights[1] / spread)
    return float(weights[0]) - slope * float(center), slope
