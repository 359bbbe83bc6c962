"""Sparsemax SAE: attention over the atoms, whose weights are exactly zero for most; each input decides how many it takes.

The encoder is the decoder: scores are cosines with the atoms, and no penalty chooses. How sharp scores are decides how sparse codes are.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops, ranks
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step


class Sparsemax(Dictionary, name="sparsemax", paper="arXiv:2604.14925"):
    """An input attends to the atoms d_i and is rebuilt from those that it attends to.

        n = ||x - b_dec||,  q = P (x - b_dec) at unit norm,  u_i = q . d_i,  p = sparsemax(scale u)
        simplex  f_i = n exp(r_i) p_i                     as in the paper: weights sum to one
        mask     f_i = n exp(r_i) relu(u_i) where p_i > 0   as in the released code: sparsemax only chooses
        loss     ||x - xhat(f)||^2

    The paper scores x W_Q against C W_K and sums C W_V. With atoms for C W_V a single projection P of the query says the same, the
    identity unless `query` is set. Values have free norms there; here atoms are unit and exp(r_i) is their length, so that codes
    carry magnitudes; scores see directions alone. The projected query is normalised too, which the paper does not say: `scale`
    alone then decides about sparsity. It is fixed, since reconstruction by itself would lower it until all atoms are active. On
    planted data `mask` finds directions better (MMCS 0.99, where `simplex` has 0.9 at the same scale).
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "scale"
        scale: float = Field(default=6.0, gt=0, le=1e30)
        """How sharp attention is: the higher, the fewer latents."""
        mode: Literal["simplex", "mask"] = "mask"
        """Whether codes are the weights of sparsemax, or products that it chooses."""
        query: bool = False
        """Learn a projection of the query."""
        idf_max_rate: float = Field(default=1.0, gt=0, le=1)
        """Latents that fire on a larger share of rows take no part, until they are below it; public code takes 0.1, 1 lets all."""
        memory: float = Field(default=0.99, ge=0, lt=1)
        """Share of the firing rates that a step keeps."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Sparsemax.Config = config
        self.log_length = nn.Parameter(torch.zeros(config.width))
        if config.query:
            self.projection = nn.Parameter(torch.eye(config.d_in))
        self.register_buffer("rates", torch.zeros(config.width))
        self.rates: Tensor

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        centred = x - self.decoder_bias
        query = _unit(centred @ self.projection.T if self.config.query else centred)
        among = self.rates <= self.config.idf_max_rate if self.config.idf_max_rate < 1 else None
        u = ops.select_sparsemax(query, self.atoms, self.config.scale, among)
        strength = (
            ops.sparsemax(u.with_values(self.config.scale * u.values)).values
            if self.config.mode == "simplex"
            else u.values.relu()
        )
        length = u.spread(self.log_length.exp()) * u.support.spread_rows(centred.norm(dim=-1))
        return u.with_values(strength * length)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})

    @torch.no_grad()
    def after_step(self, result: Pass) -> None:
        """Take the batch's firing rates into their running mean."""
        self.rates.lerp_(
            ranks.batch_mean(result.codes.firings() / len(result.codes)).to(self.rates), 1 - self.config.memory
        )


def _unit(x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Rows at unit norm; zero stays zero."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
