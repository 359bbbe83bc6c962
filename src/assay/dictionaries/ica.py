"""Independent components (FastICA): directions along which the activations are least normal, which sparse causes make them."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step

FIT_ROWS = 16_384
"""Rows of the sample that the fit reads at most, each of them in every round."""


class ICA(Dictionary, name="ica", paper="doi:10.1109/72.761722"):
    """Coordinates along independent axes; nothing is learnt after the fit.

    z      whitened x on its first `width` principal axes
    U      FastICA with symmetric orthogonalisation and tanh, from a random rotation: rows of U z are as far from normal as may be
    atoms  directions in which the sources U z are mixed into x, at unit norm
    codes  f = the k entries of W x that are largest by absolute value, with W = U whitening, rescaled to the unit atoms
    """

    signed = True
    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        width: int = Field(default=768, ge=1, lt=2**24)
        """Components, at most as many as the activations are wide; left out, just as many."""
        k: int = Field(default=0, ge=0)
        """Entries kept in each row, the largest by absolute value; 0 keeps all."""
        rounds: int = Field(default=200, ge=1)
        """Iterations of FastICA at most; it ends before when no axis turns any more."""

        @model_validator(mode="before")
        @classmethod
        def _is_square_by_default(cls, data: Any) -> Any:
            return {"width": data["d_in"], **data} if isinstance(data, dict) and "d_in" in data else data

        @model_validator(mode="after")
        def _fits_into_the_space(self) -> ICA.Config:
            if self.width > self.d_in:
                raise ValueError(f"width of at most d_in = {self.d_in}")
            return self

        def resized(self, *, d_in: int, width: int) -> ICA.Config:
            return self.revised({"d_in": d_in, "width": min(width, d_in)})

        def brief(self) -> ICA.Config:
            return self.revised({"rounds": min(self.rounds, 3)})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: ICA.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.requires_grad_(False)

    @torch.no_grad()
    def start_from(self, x: Float[Tensor, "B D"]) -> None:
        generator = torch.Generator().manual_seed(self.config.seed)
        encoder, atoms = ops.independent_axes(
            x[:FIT_ROWS], self.config.width, rounds=self.config.rounds, generator=generator
        )
        self.encoder.copy_(encoder)
        self.atoms.copy_(atoms)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        k = self.config.k or self.config.width
        return ops.select_group_top_k(x, self.encoder, x.new_zeros(self.config.width), k, 1)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})
