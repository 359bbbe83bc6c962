"""AbsTopK SAE: keep the k pre-activations of largest magnitude, signs and all, so that one atom stands for both of its directions."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class AbsTopK(Dictionary, name="abs_topk", paper="arXiv:2510.00404"):
    """Hard thresholding of the pre-activations: the proximal step of an L0 constraint, without the one of non-negativity.

    pre-activation  z = W_enc (x - b_dec) + b_enc
    codes           f = z where |z| is among the k largest of its row
    AuxK            e = x - xhat (no gradient); the k_aux dead latents of largest |z| reconstruct it: ||e - ehat||^2 / ||e - mean e||^2

    With b_enc = 0 the map is odd: f(b_dec - y) = -f(b_dec + y). AuxK is taken over from TopK.
    """

    signed = True

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept in each row."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: AbsTopK.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_group_top_k(x, self.encoder, self.encoder_bias, self.config.k, 1, self.decoder_bias)
        return ops.shifted(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        error = step.target - reconstruction
        layer = self.encoder, self.encoder_bias, self.decoder_bias, self.atoms
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer, signed=True),
        }
        return Pass(codes, reconstruction, terms)
