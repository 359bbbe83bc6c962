"""The four raw cross-entropies that any share of loss is made of. They are always printed beside it."""

from __future__ import annotations

from torch import Tensor

from assay.metric import Predictions, Summed


class Clean(Summed, name="ce_clean", unit="nats per token", better="target", reads="predictions"):
    """E -ln p(next token), the model as it is"""

    def parts(self, batch: Predictions) -> Tensor:
        return batch.clean.double()[:, None]


class Spliced(Summed, name="ce_spliced", unit="nats per token", better="lower", reads="predictions"):
    """E -ln p(next token), activations replaced by x̂"""

    def parts(self, batch: Predictions) -> Tensor:
        return batch.spliced.double()[:, None]


class Zero(Summed, name="ce_zero", unit="nats per token", better="target", reads="predictions"):
    """E -ln p(next token), activations replaced by 0"""

    def parts(self, batch: Predictions) -> Tensor:
        return batch.zero.double()[:, None]


class MeanAblated(Summed, name="ce_mean", unit="nats per token", better="target", reads="predictions"):
    """E -ln p(next token), activations replaced by their mean"""

    def parts(self, batch: Predictions) -> Tensor:
        return batch.mean.double()[:, None]
