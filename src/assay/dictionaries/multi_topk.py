"""Multi-TopK SAE: TopK that also learns to reconstruct with four times as many latents, so that its codes are of use at many k."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class MultiTopK(Dictionary, name="multi_topk", paper="arXiv:2406.04093"):
    """A TopK dictionary fits its own k alone; here a second reconstruction keeps m k latents, m = 4 in the paper.

    codes  f_k = relu(TopK_k(W_enc (x - b_dec) + b_enc))
    loss   L(k) + L(4 k) / 8,  L(k) = ||x - xhat(f_k)||^2
    AuxK   e = x - xhat(f_k) (no gradient); the k_aux largest dead latents reconstruct it: ||e - ehat||^2 / ||e - mean e||^2

    `codes_at` encodes with any k. Each k of the loss is a selection, and an encoder product, of its own.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept in each row."""
        multiple: int = Field(default=4, ge=2)
        """How many times k the wider reconstruction keeps."""
        wider: Weight = Weight(value=1 / 8)
        """Squared error of the wider reconstruction."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error; the paper takes a power of two near D / 2."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: MultiTopK.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def codes_at(self, x: Float[Tensor, "B D"], k: int) -> SparseCodes:
        """Codes of scaled activations with k latents a row."""
        products = ops.select_top_k(x, self.encoder, self.encoder_bias, k, center=self.decoder_bias)
        return ops.rectified(products, self.encoder_bias)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.codes_at(x, self.config.k)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        wider = self.decode_scaled(self.codes_at(step.x, self.config.multiple * self.config.k))
        error = step.target - reconstruction
        layer = self.encoder, self.encoder_bias, self.decoder_bias, self.atoms
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "wider": ops.squared_error(wider, step.target),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer),
        }
        return Pass(codes, reconstruction, terms)
