"""Whether reconstructions are systematically too small: the shrinkage that Gated dictionaries were made to undo."""

from __future__ import annotations

from assay.metric import Covariance, Metric, Rows, ratio


class RelativeReconstructionBias(
    Metric, name="relative_reconstruction_bias", unit="ratio, 1 is unbiased", better="target", reads="rows"
):
    """γ = E‖x̂ - μ‖² / E⟨x - μ, x̂ - μ⟩, about the mean μ = E x of the evaluated rows

    γ = argmin_g E‖(x̂ - μ) / g - (x - μ)‖²: dividing the reconstruction by γ would bring it nearest to the activations, so γ < 1 says
    that it is too small. About the mean, because a large mean, which every decoder bias gets right, pulls the raw ratio to 1 and
    hides the shrinkage. Not defined when x̂ does not covary with x. Source: arXiv:2404.16014v2, there without the mean.
    """

    def __init__(self) -> None:
        self.shared, self.own = Covariance(), Covariance()

    def update(self, batch: Rows) -> None:
        self.shared.add(batch.x, batch.reconstruction)
        self.own.add(batch.reconstruction, batch.reconstruction)

    def value(self) -> float:
        if not self.shared.rows:
            return float("nan")
        offset = float(self.shared.mean_difference().square().sum())
        return ratio(self.own.value() + offset, self.shared.value())
