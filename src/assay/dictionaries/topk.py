"""TopK SAE: keep the k largest pre-activations of each row; dead latents learn from what the living leave over (AuxK)."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
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

        transposed: bool = True
        """Whether encoder rows start as the atoms; otherwise as directions of their own, of which many never fire."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: TopK.Config = config
        generator = torch.Generator().manual_seed(config.seed + 1)
        directions = torch.randn(config.width, config.d_in, generator=generator)
        own = directions / directions.norm(dim=-1, keepdim=True)
        self.encoder = nn.Parameter(self.atoms.detach().clone() if config.transposed else own)
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_top_k(x, self.encoder, self.encoder_bias, self.config.k, center=self.decoder_bias)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        error = step.target - reconstruction
        layer = self.encoder, self.encoder_bias, self.decoder_bias, self.atoms
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer),
        }
        return Pass(codes, reconstruction, terms)
