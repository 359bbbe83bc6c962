"""Transcoder: reads one tensor of a model and reconstructs another, such as what goes into an MLP and what comes out of it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Transcoder(Dictionary, name="transcoder", paper="arXiv:2406.11944"):
    """The k largest of what it reads, as atoms of what it writes; without `target_width` it writes what it reads.

    codes  f = relu(TopK(W_enc x + b_enc))
    loss   ||y - W_dec f - b_dec||^2, both scaled: mean y is in b_dec from the start
    AuxK   e = y - yhat (no gradient); the k_aux largest dead latents reconstruct it: ||e - ehat||^2 / ||e - mean e||^2
    The paper penalises ||f||_1; TopK codes are those of later public code, which this follows.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        target_width: int | None = Field(default=None, ge=1, lt=2**24)
        """Width of what is written; None where it is the input."""
        k: int = Field(default=32, ge=1)
        """Latents kept in each row."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""

        @property
        def maps_to(self) -> int | None:
            return self.target_width

        @classmethod
        def for_parts(cls, parts: tuple[int, ...]) -> dict[str, Any]:
            return {"d_in": parts[0], "target_width": sum(parts[1:]) or None}

        def resized(self, *, d_in: int, width: int) -> Transcoder.Config:
            target = self.target_width and max(round(self.target_width * d_in / self.d_in), 1)
            return self.revised({"d_in": d_in, "width": width, "target_width": target})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Transcoder.Config = config
        if config.maps_to is None:
            rows = self.atoms.detach().clone()
        else:
            rows = torch.randn(config.width, config.d_in, generator=torch.Generator().manual_seed(config.seed + 1))
        self.encoder = nn.Parameter(rows / rows.norm(dim=-1, keepdim=True))
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_top_k(x, self.encoder, self.encoder_bias, self.config.k)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        error = step.target - reconstruction
        layer = self.encoder, self.encoder_bias, None, self.atoms
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer),
        }
        return Pass(codes, reconstruction, terms)
