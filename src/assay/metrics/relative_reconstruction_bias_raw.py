"""The reconstruction bias as the paper prints it, on activations as they are."""

from __future__ import annotations

from assay.metric import Metric, Rows, ratio


class RelativeReconstructionBiasRaw(
    Metric, name="relative_reconstruction_bias_raw", unit="ratio, 1 is unbiased", better="target", reads="rows"
):
    """γ_raw = E‖x̂‖² / E⟨x, x̂⟩

    γ_raw = argmin_g E‖x̂ / g - x‖². For comparison with published numbers: where the mean of the activations is large it is near 1
    whatever the dictionary does. Source: arXiv:2404.16014v2.
    """

    def __init__(self) -> None:
        self.power, self.shared = 0.0, 0.0

    def update(self, batch: Rows) -> None:
        x, reconstruction = batch.x.double(), batch.reconstruction.double()
        self.power += float(reconstruction.square().sum())
        self.shared += float((x * reconstruction).sum())

    def value(self) -> float:
        return ratio(self.power, self.shared)
