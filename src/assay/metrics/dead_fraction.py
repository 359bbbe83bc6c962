"""How much of a dictionary never speaks. The share depends on how many tokens it was listened to: a record says both."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Metric, Rows


class DeadFraction(
    Metric, name="dead_fraction", unit="share of latents, over the evaluated tokens", better="lower", reads="rows"
):
    """|{l : f_l = 0 on every evaluated row}| / L

    Latents rarer than one in the number of rows look dead as well.
    """

    def __init__(self) -> None:
        self.fired: Tensor | None = None

    def update(self, batch: Rows) -> None:
        if len(batch.codes):
            fired = batch.codes.firings() > 0
            self.fired = fired if self.fired is None else self.fired | fired

    def value(self) -> float:
        return float("nan") if self.fired is None else float((~self.fired).to(torch.float64).mean())
