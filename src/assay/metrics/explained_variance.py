"""How much of the activations' spread the reconstruction accounts for, over the whole sample and not batch by batch."""

from __future__ import annotations

from assay.metric import Covariance, Metric, Rows, ratio


class ExplainedVariance(Metric, name="explained_variance", unit="share of variance", better="higher", reads="rows"):
    """1 - Σ‖x - x̂‖² / Σ‖x - E x‖²

    Both sums run over all evaluated rows, and E x is their mean: predicting the mean scores 0, and anything worse is negative.
    Not defined when all rows are equal.
    """

    def __init__(self) -> None:
        self.error = 0.0
        self.spread = Covariance()

    def update(self, batch: Rows) -> None:
        self.error += float((batch.x.double() - batch.reconstruction.double()).square().sum())
        self.spread.add(batch.x, batch.x)

    def value(self) -> float:
        return 1 - ratio(self.error, self.spread.total)
