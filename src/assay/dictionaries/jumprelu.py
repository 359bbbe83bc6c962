"""JumpReLU SAE: a learned threshold a latent, trained through a jump by straight-through estimators.

A trained Gated dictionary is one of these at inference (`Gated.to_jumprelu`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class JumpReLU(Dictionary, name="jumprelu", paper="arXiv:2407.14435"):
    """A latent fires where its pre-activation passes its own threshold.

        z = W_enc (x - b_dec) + b_enc;  f = z 1[z > theta],  theta = exp(t) > 0
        loss ||x - xhat(f)||^2 + lambda sum_i 1[z_i > theta_i]
        estimators, K((z - theta)/eps) a rectangle of width 1:  d f/d theta = -(theta/eps) K,  d 1[z > theta]/d theta = -K/eps

    The paper feeds x itself to the encoder; here b_dec is taken off first, as in Gated, so that the two convert into each other.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.01, warmup=0.05)
        """Penalty on the number of active latents."""
        bandwidth: float = Field(default=0.03, ge=1e-30, le=1e30)
        """Width eps of the band around the threshold whose entries teach it, for x with E||x||^2 = 1."""
        initial_threshold: float = Field(default=0.03, ge=1e-30, le=1e30)
        """Every threshold at the start."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: JumpReLU.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.log_threshold = nn.Parameter(torch.full((config.width,), config.initial_threshold).log())

    def pre_activations(self, x: Float[Tensor, "B D"], margin: float) -> SparseCodes:
        """z where z > theta - margin."""
        shift = self.encoder_bias - self.log_threshold.exp() + margin
        products = ops.select_positive(x, self.encoder, shift, self.decoder_bias)
        return products.with_values(products.values + products.spread(self.encoder_bias))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        z = self.pre_activations(x, margin=0.0)
        return z.with_values(torch.where(z.values > z.spread(self.log_threshold.exp()), z.values, 0))

    def losses(self, step: Step) -> Pass:
        z = self.pre_activations(step.x, margin=self.config.bandwidth / 2)
        threshold = z.spread(self.log_threshold.exp())
        jump, fires = _Jump.apply(z.values, threshold, self.config.bandwidth)  # pyright: ignore
        codes, active = z.with_values(jump), z.with_values(fires)
        reconstruction = self.decode_scaled(codes)
        return Pass(
            codes,
            reconstruction,
            {
                "reconstruction": ops.squared_error(reconstruction, step.target),
                "sparsity": active.mean_row_sum(),
            },
        )


class _Jump(torch.autograd.Function):
    """z 1[z > theta] and 1[z > theta]. z gets 1[z > theta] from the first; theta gets -(theta / eps) K and -K / eps."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(z > threshold, z, 0), (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, to_jump: Tensor, to_fires: Tensor):  # pyright: ignore
        z, threshold = ctx.saved_tensors
        band = ((z - threshold).abs() < ctx.bandwidth / 2).to(z.dtype) / ctx.bandwidth
        to_threshold = -band * (threshold * to_jump + to_fires)
        return torch.where(z > threshold, to_jump, 0), to_threshold.sum_to_size(threshold.shape), None
