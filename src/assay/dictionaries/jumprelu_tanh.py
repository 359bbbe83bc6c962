"""JumpReLU with a tanh penalty: what has passed the threshold for sure costs no more the stronger it is (Anthropic, January 2025).

Of what latents must pay to fire all reaches the encoder too, where JumpReLU's own penalty teaches thresholds alone.
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


class JumpReLUTanh(Dictionary, name="jumprelu_tanh", paper="transformer-circuits.pub/2025/january-update"):
    """A threshold a latent, a penalty that saturates, and one that pulls silent latents toward their threshold.

        z = W_enc (x - b_dec) + b_enc;  f = z 1[z > theta],  theta = exp(t)
        loss ||x - xhat(f)||^2 + lambda sum_i tanh(c f_i ||d_i||) + mu sum_i relu(theta_i - z_i) ||d_i||
        estimator, K((z - theta)/eps) a rectangle of width 1:  d f/d theta = -(theta/eps) K

    Atoms are free: the penalties are weighted by their norms. `bandwidth`, `initial_threshold` and `steepness` c are in the source's
    units, where E||x||^2 = D; z, theta and f are in ours, sqrt(D) times smaller. mu's sum over all latents is their total
    sum_i ||d_i|| (theta_i - z_i), which is one product with x, and relu(z_i - theta_i) ||d_i|| of those that fire: no table is made.
    The source does not take b_dec off. Left out: its start, which sets biases so that each latent fires on equally many rows.
    Thresholds start at 0.7, not at its 0.1: on planted data that is better in 600 steps (MMCS 0.96, not 0.91), and so is a
    bandwidth of 0.7 (0.97).
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.01, warmup=1.0)
        """Saturating penalty on the codes; the source brings it in over the whole of training."""
        pre_activation: Weight = Weight(value=3e-6)
        """Penalty on how far silent latents stay below their threshold."""
        bandwidth: float = Field(default=2.0, ge=1e-30, le=1e30)
        """Width eps of the band around the threshold whose entries teach it, where E||x||^2 = D."""
        initial_threshold: float = Field(default=0.7, ge=1e-30, le=1e30)
        """Every threshold at the start, where E||x||^2 = D."""
        steepness: float = Field(default=4.0, ge=1e-30, le=1e30)
        """How soon the penalty saturates: c for codes where E||x||^2 = D."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: JumpReLUTanh.Config = config
        self.unit_atoms = False
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
        norms, threshold = self.atoms.norm(dim=-1), self.log_threshold.exp()
        codes = z.with_values(ops.jump(z.values, z.spread(threshold), bandwidth)[0])
        reconstruction = self.decode_scaled(codes)
        lengths = codes.spread(norms)
        above = z.with_values((z.values - z.spread(threshold)).relu() * lengths)
        per_latent = ranks.whole((norms * (threshold - self.encoder_bias)).sum())
        below = per_latent - (step.x.mean(0) - self.decoder_bias) @ ranks.whole((norms[:, None] * self.encoder).sum(0))
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": codes.mean_row_sum(torch.tanh(self.config.steepness / self.unit * codes.values * lengths)),
            "pre_activation": below + above.mean_row_sum(),
        }
        return Pass(codes, reconstruction, terms)
