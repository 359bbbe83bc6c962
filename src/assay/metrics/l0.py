"""How many latents speak for a row."""

from __future__ import annotations

from assay.metric import Mean, Metric, Rows


class L0(Metric, name="l0", unit="latents per token", better="target", reads="rows"):
    """E |{l : f_l ≠ 0}|

    The mean number of active latents of a row. A stored code of zero is not active.
    """

    def __init__(self) -> None:
        self.active = Mean()

    def update(self, batch: Rows) -> None:
        self.active.add(batch.codes.l0())

    def value(self) -> float:
        return self.active.value()
