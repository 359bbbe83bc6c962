"""How far replacing activations moves the model's predictions, whether or not it moves them away from the truth."""

from __future__ import annotations

from torch import Tensor

from assay.metric import Predictions, Summed


class KL(Summed, name="kl", unit="nats per token", better="lower", reads="predictions"):
    """E KL(p_clean ‖ p_spliced) of the next token"""

    def parts(self, batch: Predictions) -> Tensor:
        return batch.kl.double()[:, None]


class KLZero(Summed, name="kl_zero", unit="nats per token", better="target", reads="predictions"):
    """E KL(p_clean ‖ p_zero) of the next token, activations replaced by 0"""

    def parts(self, batch: Predictions) -> Tensor:
        return batch.kl_zero.double()[:, None]


class KLMean(Summed, name="kl_mean", unit="nats per token", better="target", reads="predictions"):
    """E KL(p_clean ‖ p_mean) of the next token, activations replaced by their mean"""

    def parts(self, batch: Predictions) -> Tensor:
        return batch.kl_mean.double()[:, None]
