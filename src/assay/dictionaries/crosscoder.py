"""Crosscoder: one code for several tensors, such as layers of a model or one layer of two models, each reconstructed by its own part."""

from __future__ import annotations

from math import gcd
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Crosscoder(Dictionary, name="crosscoder", paper="transformer-circuits.pub/2024/crosscoders"):
    """x is the tensors a^l side by side, each scaled to E||a^l||^2 = 1; so are the atoms d_i = (d_i^1, ..., d_i^n), of free norm.

    codes  f = relu(W_enc x + b_enc), where W_enc x = sum_l W_enc^l a^l
    loss   sum_l ||a^l - ahat^l||^2 + lambda sum_i f_i sum_l ||d_i^l||
    The norms of an atom's parts tell what it is for; the penalty drives small parts to zero, also where the concept is in both
    (see `analysis.model_diff`). Atoms begin at unit norm over all parts, not at 0.08 for each.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sites: int = Field(default=2, ge=1)
        """Tensors that stand side by side, all of one width."""
        sparsity: Weight = Weight(value=0.2, warmup=0.05)
        """Codes weighted by the sum of the norms of their atoms' parts."""

        @model_validator(mode="after")
        def _divides(self) -> Crosscoder.Config:
            if self.d_in % self.sites:
                raise ValueError(f"d_in = {self.d_in} in {self.sites} parts of equal width")
            return self

        @property
        def parts(self) -> tuple[int, ...]:
            return (self.d_in // self.sites,) * self.sites

        @classmethod
        def for_parts(cls, parts: tuple[int, ...]) -> dict[str, Any]:
            return {"d_in": sum(parts), "sites": len(parts)}

        def resized(self, *, d_in: int, width: int) -> Crosscoder.Config:
            return self.revised({"d_in": d_in, "width": width, "sites": gcd(self.sites, d_in)})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Crosscoder.Config = config
        self.unit_atoms = False
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        norms = ops.part_norms(self.atoms, self.config.sites).sum(1)
        return Pass(
            codes,
            reconstruction,
            {
                "reconstruction": ops.squared_error(reconstruction, step.target),
                "sparsity": codes.mean_row_sum(codes.values * codes.spread(norms)),
            },
        )
