"""How much of what a site does for the model survives the splice, where nothing at all is the other end of the scale."""

from __future__ import annotations

from assay.metric import Mean, Metric, Predictions, ratio


class LossRecoveredZero(
    Metric, name="loss_recovered_zero", unit="share of cross-entropy", better="higher", reads="predictions"
):
    """(CE_zero - CE_spliced) / (CE_zero - CE_clean), activations ablated by zeros

    Zeros are far from anything the model has seen, so at residual sites the denominator is large and every dictionary scores high.
    Not defined when ablation costs nothing. Source: arXiv:2404.16014.
    """

    def __init__(self) -> None:
        self.ablated, self.spliced, self.clean = Mean(), Mean(), Mean()

    def update(self, batch: Predictions) -> None:
        self.ablated.add(batch.zero)
        self.spliced.add(batch.spliced)
        self.clean.add(batch.clean)

    def value(self) -> float:
        return ratio(self.ablated.total - self.spliced.total, self.ablated.total - self.clean.total)
