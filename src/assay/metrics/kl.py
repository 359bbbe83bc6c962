"""How far the splice moves the model's predictions, whether or not it moves them away from the truth."""

from __future__ import annotations

from assay.metric import Mean, Metric, Predictions


class KL(Metric, name="kl", unit="nats per token", better="lower", reads="predictions"):
    """E KL(p_clean ‖ p_spliced) of the next token"""

    def __init__(self) -> None:
        self.divergence = Mean()

    def update(self, batch: Predictions) -> None:
        self.divergence.add(batch.kl)

    def value(self) -> float:
        return self.divergence.value()
