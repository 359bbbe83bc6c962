"""Principal components: the orthogonal directions that keep the most variance, exact, from the sample that training starts from."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step


class PCA(Dictionary, name="pca", paper="Pearson 1901"):
    """Coordinates along the principal axes; nothing is learnt after the fit.

    atoms  the `width` eigenvectors of E[x x^T] with the largest eigenvalues
    codes  f = the k entries of W x that are largest by absolute value, with the atoms as W
    """

    signed = True
    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        width: int = Field(default=768, ge=1, lt=2**24)
        """Components, at most as many as the activations are wide; left out, just as many."""
        k: int = Field(default=0, ge=0)
        """Entries kept in each row, the largest by absolute value; 0 keeps all."""

        @model_validator(mode="before")
        @classmethod
        def _is_square_by_default(cls, data: Any) -> Any:
            return {"width": data["d_in"], **data} if isinstance(data, dict) and "d_in" in data else data

        @model_validator(mode="after")
        def _fits_into_the_space(self) -> PCA.Config:
            if self.width > self.d_in:
                raise ValueError(f"width of at most d_in = {self.d_in}")
            return self

        def resized(self, *, d_in: int, width: int) -> PCA.Config:
            return self.revised({"d_in": d_in, "width": min(width, d_in)})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: PCA.Config = config
        self.requires_grad_(False)

    @torch.no_grad()
    def start_from(self, x: Float[Tensor, "B D"]) -> None:
        self.atoms.copy_(ops.principal_axes(x, self.config.width)[0])

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        k = self.config.k or self.config.width
        return ops.select_group_top_k(x, self.atoms, x.new_zeros(self.config.width), k, 1)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})
