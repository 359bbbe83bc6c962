"""CEDAR: no wider than its input, a rotation to axes on which few coordinates say most; with all of them it loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import xxhash
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step

D_IN = 768


class Rotation(Dictionary, name="rotation", paper="arXiv:2605.22679"):
    """An orthogonal change of basis U with a bottleneck: our reconstruction of CEDAR from its abstract.

    coordinates  z = U x                       rows u_j of U in R^{D x D} are the atoms; x has the mean taken out already
    codes        f = z on the k largest |z| of the row, with their sign
    loss         ||x - U^T f||^2               which is sum of the dropped z_j^2, as U^T U = I

    After each step of Adam U becomes the nearest orthogonal matrix to where the step led (its polar factor). Latents that resampling
    points elsewhere are straightened in the step that follows. A cosine term, and maps that are invertible only, are left out. It
    finds D directions at right angles, and no more of them: of 96 planted in 48 dimensions it can find none well (MMCS .68).
    """

    signed = True
    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        d_in: int = Field(default=D_IN, ge=1, lt=2**24)
        """Width D of the activations."""
        width: int = Field(default=D_IN, ge=1, lt=2**24)
        """Number of axes: as many as the activations are wide, which is also the default."""
        k: int = Field(default=32, ge=1)
        """Coordinates kept in training."""
        least_k: int | None = Field(default=None, ge=1)
        """Where given, each batch keeps a number of them that is drawn from here to k."""
        kept: int | None = Field(default=None, ge=1)
        """Coordinates kept at inference; k by default, and `width` loses nothing."""

        def resized(self, *, d_in: int, width: int) -> Dictionary.Config:
            return self.revised({"d_in": d_in, "width": d_in})

        @model_validator(mode="before")
        @classmethod
        def _is_as_wide_as_its_input(cls, data: Any) -> Any:
            return {"width": data.get("d_in", D_IN), **data} if isinstance(data, Mapping) else data

        @model_validator(mode="after")
        def _is_square(self) -> Rotation.Config:
            if self.width == self.d_in and (self.least_k or 1) <= self.k:
                return self
            raise ValueError(f"width = d_in = {self.d_in}, which is what it is without a width, and least_k <= k")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Rotation.Config = config
        self.unit_atoms = False
        self.decoder_bias.requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.steps: Tensor
        self.straighten()

    def largest(self, x: Float[Tensor, "B D"], k: int) -> SparseCodes:
        """The k coordinates of largest magnitude of each row."""
        return ops.select_group_top_k(x, self.atoms, torch.zeros_like(self.decoder_bias), k, 1)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.largest(x, self.config.kept or self.config.k)

    def losses(self, step: Step) -> Pass:
        codes = self.largest(step.x, self.k_of_step())
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})

    def k_of_step(self) -> int:
        """How many coordinates this batch keeps: the same in every training with this seed."""
        low, high = self.config.least_k or self.config.k, self.config.k
        key = xxhash.xxh3_64_intdigest(f"rotation {self.config.seed} {int(self.steps)}".encode())
        return low + key % (high - low + 1)

    @torch.no_grad()
    def straighten(self) -> None:
        """Make the atoms the nearest orthogonal matrix."""
        self.atoms.copy_(ops.polar_factor(self.atoms.double()))

    def after_step(self, result: Pass) -> None:
        """Return to the orthogonal matrices, and count."""
        self.straighten()
        self.steps += 1
