"""Elastic-net SAE: L1 and a square on the codes, the L1 heavier on latents that are used little (AEN-SAE).

The square makes the codes a steadier function of the input, and lets atoms that point alike share; the weights prune what is spurious.
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


class ElasticNet(Dictionary, name="elastic_net", paper="arXiv:2605.05341"):
    """A ReLU dictionary with the penalty of the adaptive elastic net.

        f = relu(W_enc (x - b_dec) + b_enc)
        loss ||x - xhat(f)||^2 + lambda sum_i w'_i f_i + mu sum_i f_i^2
        m_i <- beta m_i + (1 - beta) mean_batch f_i, from 1;  reference = mean of the largest `top` of m
        w_i = clamp((reference / max(m_i, 1e-5))^gamma, least, most);  w'_i = 1 + (w_i - 1) rho(progress)

    rho is 0 until `adapt_from`, then rises to 1 within `adapt_ramp` of training. gamma = 0 is the elastic net, with mu = 0 too L1;
    mu = 0 alone is the adaptive lasso. The source's lambda and mu belong to an error that is averaged over D, and its activations
    have their own scale: they don't transfer. Nor does beta, 0.9999 for its 25,000 steps: m starts at 1, hundreds of times what a
    latent is used, and here reaches it in some 300 steps. On planted data without coherence, weights prune what is needed too:
    gamma = 0.5 finds directions less well than gamma = 0 (MMCS 0.94, 0.98), and gamma = 1 leaves half of the latents dead.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.2, warmup=0.05)
        """L1 on the codes, weighted by use: lambda."""
        square: Weight = Weight(value=0.02)
        """Squared codes: mu."""
        gamma: float = Field(default=0.5, ge=0, le=100)
        """How much more a latent that is used little pays; 0 treats all alike."""
        beta: float = Field(default=0.98, ge=0, lt=1)
        """Share of the mean codes that a step keeps."""
        top: float = Field(default=0.05, gt=0, le=1)
        """Share of the latents, the most used ones, whose mean use is the reference."""
        least: float = Field(default=0.01, gt=0, le=1)
        """Smallest weight of a latent."""
        most: float = Field(default=10.0, ge=1, le=1e30)
        """Largest weight of a latent."""
        adapt_from: float = Field(default=0.2, ge=0, le=1)
        """Fraction of training in which all latents pay alike."""
        adapt_ramp: float = Field(default=0.1, gt=0, le=1)
        """Fraction of training over which weights are brought in."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: ElasticNet.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.register_buffer("use", torch.ones(config.width))
        self.use: Tensor

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias, self.decoder_bias)
        return products.with_values((products.values + products.spread(self.encoder_bias)).relu())

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(
            codes,
            reconstruction,
            {
                "reconstruction": ops.squared_error(reconstruction, step.target),
                "sparsity": codes.mean_row_sum(codes.values * codes.spread(self.penalties(step.progress))),
                "square": codes.mean_row_sum(codes.values.square()),
            },
        )

    def penalties(self, progress: float) -> Float[Tensor, " L"]:
        """w' of each latent at a fraction of training."""
        config, most_used = self.config, max(round(self.config.top * self.config.width), 1)
        reference = self.use.topk(most_used).values.mean()
        weights = (reference / self.use.clamp_min(1e-5)).pow(config.gamma).clamp(config.least, config.most)
        return 1 + (weights - 1) * min(max((progress - config.adapt_from) / config.adapt_ramp, 0.0), 1.0)

    @torch.no_grad()
    def after_step(self, result: Pass) -> None:
        """Take the batch's mean codes into the running mean."""
        codes = result.codes.detach()
        mean = ranks.batch_mean(codes.support.per_latent(codes.values) / len(codes))
        self.use.lerp_(mean.to(self.use), 1 - self.config.beta)
