"""JumpReLU SAE: a learned threshold a latent, trained through a jump by straight-through estimators.

A trained Gated dictionary is one of these at inference (`Gated.to_jumprelu`).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops, ranks
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class JumpReLU(Dictionary, name="jumprelu", paper="arXiv:2407.14435"):
    """A latent fires where its pre-activation passes its own threshold.

        z = W_enc (x - b_dec) + b_enc;  f = z 1[z > theta],  theta = exp(t) > 0
        loss ||x - xhat(f)||^2 + lambda L0,  L0 = E sum_i 1[z_i > theta_i];  or lambda (L0 / target_l0 - 1)^2, as in public code
        estimators, K((z - theta)/eps) a rectangle of width 1:  d f/d theta = -(theta/eps) K,  d 1[z > theta]/d theta = -K/eps

    The paper feeds x itself to the encoder; here b_dec is taken off first, as in Gated, so that the two convert into each other.

    `bandwidth` and `initial_threshold` are in the paper's units, where E||x||^2 = D and a pre-activation of isotropic x is 1 in size;
    z, theta and f are in ours, sqrt(D) times smaller. Both are 1.2 and not the paper's 0.001, which is for billions of rows: Adam
    moves t by at most the learning rate a step, so for the first hundreds of steps thresholds stay near where they start, and only
    entries in the band move them. From 1.2 planted directions are found, the L0 at which variants are compared on a language model is
    reached, and an L0 that is aimed for is hit in 1,500 steps (docs/dictionaries/jumprelu.md).
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.03, warmup=0.05)
        """Penalty on the number of active latents; near 1 where that has a target."""
        target_l0: float | None = Field(default=None, ge=1e-6, le=1e30)
        """Active latents to aim for: the penalty becomes (L0 / target - 1)^2. None penalises L0 itself."""
        bandwidth: float = Field(default=1.2, ge=1e-30, le=1e30)
        """Width eps of the band around the threshold whose entries teach it, where E||x||^2 = D."""
        initial_threshold: float = Field(default=1.2, ge=1e-30, le=1e30)
        """Every threshold at the start, where E||x||^2 = D."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: JumpReLU.Config = config
        self.unit = config.d_in**-0.5
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.log_threshold = nn.Parameter(torch.full((config.width,), config.initial_threshold * self.unit).log())

    def pre_activations(self, x: Float[Tensor, "B D"], margin: float) -> SparseCodes:
        """z where z > theta - margin."""
        shift = self.encoder_bias - self.log_threshold.exp() + margin
        products = ops.select_positive(x, self.encoder, shift, self.decoder_bias)
        return products.with_values(products.values + products.spread(self.encoder_bias))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        z = self.pre_activations(x, margin=0.0)
        return z.with_values(torch.where(z.values > z.spread(self.log_threshold.exp()), z.values, 0))

    def losses(self, step: Step) -> Pass:
        bandwidth = self.config.bandwidth * self.unit
        z = self.pre_activations(step.x, margin=bandwidth / 2)
        threshold = z.spread(self.log_threshold.exp())
        jump, fires = ops.jump(z.values, threshold, bandwidth)
        codes, l0 = z.with_values(jump), z.with_values(fires).mean_row_sum()
        reconstruction = self.decode_scaled(codes)
        target = self.config.target_l0
        return Pass(
            codes,
            reconstruction,
            {
                "reconstruction": ops.squared_error(reconstruction, step.target),
                "sparsity": l0 if target is None else (ranks.batch_mean(l0) / target - 1).square(),
            },
        )
