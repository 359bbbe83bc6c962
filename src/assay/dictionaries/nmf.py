"""Non-negative factorisation of the activations' positive and negative parts: additive parts, fitted once to a sample."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step

FIT_ROWS = 8192
"""Rows that are factorised, at most."""


class NMF(Dictionary, name="nmf", paper="doi:10.1038/44565"):
    """Additive parts of v = [relu(x), relu(-x)], which is nowhere negative and gives x = v+ - v-; nothing is learnt after the fit.

    fit    min ||v - H A||^2 over H, A >= 0, by multiplicative updates, on the first 8,192 rows of the sample
    atoms  d_i = A+_i - A-_i, at unit norm; the rows of A and H are rescaled with them
    codes  f = the k largest entries of argmin_{h >= 0} ||v - h A||^2, found by `code_rounds` multiplicative updates from a constant
    """

    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        width: int = Field(default=768, ge=1, lt=2**31)
        """Number of parts L."""
        k: int = Field(default=0, ge=0)
        """Entries kept in each row, the largest; 0 keeps all."""
        rounds: int = Field(default=100, ge=1)
        """Multiplicative updates of the fit."""
        code_rounds: int = Field(default=30, ge=1, le=1000)
        """Multiplicative updates of the codes of a row; each costs as much as an encoder product with L rows of L numbers."""

        def brief(self) -> NMF.Config:
            return self.revised({"rounds": min(self.rounds, 3), "code_rounds": min(self.code_rounds, 3)})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: NMF.Config = config
        self.parts = nn.Parameter(ops.split_signs(self.atoms.detach()))
        self.requires_grad_(False)

    @torch.no_grad()
    def start_from(self, x: Float[Tensor, "B D"]) -> None:
        generator = torch.Generator().manual_seed(self.config.seed)
        parts = ops.factorise(
            ops.split_signs(x[:FIT_ROWS]), self.config.width, rounds=self.config.rounds, generator=generator
        )
        positive, negative = parts.chunk(2, dim=1)
        length = (positive - negative).norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).eps)
        self.parts.copy_(parts / length)
        self.atoms.copy_((positive - negative) / length)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        k = min(self.config.k or self.config.width, self.config.width)
        return ops.nonnegative_codes(ops.split_signs(x), self.parts, k, rounds=self.config.code_rounds)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})
