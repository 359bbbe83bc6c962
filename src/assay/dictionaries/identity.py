"""The activations' own coordinates, the first baseline: are neurons as good as what was learnt?"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step


class Identity(Dictionary, name="identity", paper="the standard basis"):
    """Coordinates as latents; nothing is learnt.

    atoms  e_1 ... e_D
    codes  f = the k entries of x that are largest by absolute value
    """

    signed = True
    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        width: int = Field(default=768, ge=1, lt=2**24)
        """As many latents as the activations are wide; left out, it is so."""
        k: int = Field(default=0, ge=0)
        """Entries kept in each row, the largest by absolute value; 0 keeps all."""

        @model_validator(mode="before")
        @classmethod
        def _is_square(cls, data: Any) -> Any:
            return {"width": data["d_in"], **data} if isinstance(data, dict) and "d_in" in data else data

        @model_validator(mode="after")
        def _has_a_latent_a_coordinate(self) -> Identity.Config:
            if self.width != self.d_in:
                raise ValueError(f"width = d_in = {self.d_in}")
            return self

        def resized(self, *, d_in: int, width: int) -> Identity.Config:
            return self.revised({"d_in": d_in, "width": d_in})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Identity.Config = config
        self.atoms.data = torch.eye(config.d_in)
        self.requires_grad_(False)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        k = self.config.k or self.config.width
        return ops.select_group_top_k(x, self.atoms, self.decoder_bias, k, 1)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})
