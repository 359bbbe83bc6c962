"""TopK SAE: keep the k largest pre-activations of each row; dead latents learn from what the living leave over (AuxK)."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class TopK(Dictionary, name="topk", paper="arXiv:2406.04093"):
    """The k largest pre-activations of each row, rectified.

    codes  f = relu(TopK(W_enc (x - b_dec) + b_enc))
    AuxK   e = x - xhat (no gradient); the k_aux largest dead latents reconstruct it: ||e - ehat||^2 / ||e - mean e||^2
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept in each row."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error; the paper takes a power of two near D / 2."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: TopK.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def largest(self, x: Float[Tensor, "B D"], k: int, among: Bool[Tensor, " L"] | None = None) -> SparseCodes:
        """The k largest rectified pre-activations of each row."""
        products = ops.select_top_k(x, self.encoder, self.encoder_bias, k, among, self.decoder_bias)
        return products.with_values((products.values + products.spread(self.encoder_bias)).relu())

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.largest(x, self.config.k)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "auxk": self.error_from_dead(step, (step.target - reconstruction).detach()),
        }
        return Pass(codes, reconstruction, terms)

    def error_from_dead(self, step: Step, error: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        """Share of the error's variance that dead latents leave unexplained; zero while none is dead or nothing varies."""
        if step.dead is None or not step.dead.any():
            return error.new_zeros(())
        estimate = ops.decode(self.largest(step.x, self.config.k_aux, step.dead), self.atoms)
        return ops.unexplained_share(estimate, error)
