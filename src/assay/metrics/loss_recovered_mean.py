"""How much of what a site does for the model survives the splice, where the mean activation is the other end of the scale."""

from __future__ import annotations

from assay.metric import Mean, Metric, Predictions, ratio


class LossRecoveredMean(
    Metric, name="loss_recovered_mean", unit="share of cross-entropy", better="higher", reads="predictions"
):
    """(CE_mean - CE_spliced) / (CE_mean - CE_clean), activations ablated by their mean

    A dictionary that does worse than the mean activation scores below 0.
    Not defined when ablation costs nothing. Source: arXiv:2404.16014.
    """

    def __init__(self) -> None:
        self.ablated, self.spliced, self.clean = Mean(), Mean(), Mean()

    def update(self, batch: Predictions) -> None:
        self.ablated.add(batch.mean)
        self.spliced.add(batch.spliced)
        self.clean.add(batch.clean)

    def value(self) -> float:
        return ratio(self.ablated.total - self.spliced.total, self.ablated.total - self.clean.total)
