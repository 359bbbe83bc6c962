"""ReLU SAE whose magnitudes are corrected after training: how much of Gated's gain undoing the shrinkage alone can give.

The "baseline + rescale & shift" arm of the Gated paper. One training holds both phases.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class RescaledReLU(Dictionary, name="rescaled_relu", paper="arXiv:2404.16014"):
    """A ReLU dictionary until `freeze_at` of training; then all of it stands still, and a rescale and a shift a latent learn.

    pre-activation  z = W_enc (x - b_dec) + b_enc                fires where z > 0
    codes           f = 1[z > 0] * relu(exp(r) z + s),  r = s = 0 at first: the b_mag of Gated is exp(r) b_enc + s
    first phase     ||x - xhat(f)||^2 + lambda ||relu(z)||_1     teaches all but r, s
    second phase    ||x - xhat(f)||^2                            teaches r, s; the L1 is still reported

    The paper freezes a trained dictionary; that a share of one training does so is our reconstruction. With Adam's beta1 > 0 what is
    frozen still coasts for some steps.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.25, warmup=0.05)
        """L1 on the codes of the first phase."""
        freeze_at: float = Field(default=0.75, ge=0, le=1)
        """Fraction of training after which encoder and decoder are frozen, and rescale and shift learn; at 1 they never are."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: RescaledReLU.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.log_rescale = nn.Parameter(torch.zeros(config.width))
        self.shift = nn.Parameter(torch.zeros(config.width))

    def baseline(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        """Codes of the ReLU dictionary."""
        products = ops.select_positive(x, self.encoder, self.encoder_bias, self.decoder_bias)
        return products.with_values((products.values + products.spread(self.encoder_bias)).relu())

    def corrected(self, codes: SparseCodes) -> SparseCodes:
        """The same latents, rescaled and shifted."""
        magnitude = codes.spread(self.log_rescale.exp()) * codes.values + codes.spread(self.shift)
        return codes.with_values(magnitude.relu())

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.corrected(self.baseline(x))

    def losses(self, step: Step) -> Pass:
        frozen = step.progress > self.config.freeze_at
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            baseline = self.baseline(step.x)
        codes = self.corrected(baseline) if frozen else baseline
        reconstruction = self.decode_frozen(codes) if frozen else self.decode_scaled(codes)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": baseline.mean_row_sum(),
        }
        return Pass(codes, reconstruction, terms)
