"""Random directions: what sparse coding explains before anything was learnt."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step


class Random(Dictionary, name="random", paper="random directions"):
    """Atoms uniform on the sphere, which are their own encoder; nothing is learnt.

    codes  f = relu(TopK(W x)), with the atoms as W
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept in each row."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Random.Config = config
        self.requires_grad_(False)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_top_k(x, self.atoms, x.new_zeros(self.config.width), self.config.k)
        return products.with_values(products.values.relu())

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})
