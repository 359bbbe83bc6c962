"""The four raw cross-entropies that any share of loss is made of. They are always printed beside it."""

from __future__ import annotations

from assay.metric import Mean, Metric, Predictions


class Clean(Metric, name="ce_clean", unit="nats per token", better="target", reads="predictions"):
    """E -ln p(next token), the model as it is"""

    def __init__(self) -> None:
        self.loss = Mean()

    def update(self, batch: Predictions) -> None:
        self.loss.add(batch.clean)

    def value(self) -> float:
        return self.loss.value()


class Spliced(Metric, name="ce_spliced", unit="nats per token", better="lower", reads="predictions"):
    """E -ln p(next token), activations replaced by x̂"""

    def __init__(self) -> None:
        self.loss = Mean()

    def update(self, batch: Predictions) -> None:
        self.loss.add(batch.spliced)

    def value(self) -> float:
        return self.loss.value()


class Zero(Metric, name="ce_zero", unit="nats per token", better="target", reads="predictions"):
    """E -ln p(next token), activations replaced by 0"""

    def __init__(self) -> None:
        self.loss = Mean()

    def update(self, batch: Predictions) -> None:
        self.loss.add(batch.zero)

    def value(self) -> float:
        return self.loss.value()


class MeanAblated(Metric, name="ce_mean", unit="nats per token", better="target", reads="predictions"):
    """E -ln p(next token), activations replaced by their mean"""

    def __init__(self) -> None:
        self.loss = Mean()

    def update(self, batch: Predictions) -> None:
        self.loss.add(batch.mean)

    def value(self) -> float:
        return self.loss.value()
