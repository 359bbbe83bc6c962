"""SASA: groups of atoms span a subspace each, so that a feature of several dimensions needs one group, not many split atoms."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from assay import ops, ranks
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Subspace(Dictionary, name="subspace", paper="arXiv:2606.06333"):
    """K = L / r groups of r consecutive atoms D_k; each row keeps the s groups of largest norm, with signed codes.

    pre-activation  p_k = W_enc,k (x - b_dec) + b_enc,k in R^r, rows of W_enc at unit norm
    codes           f_k = p_k where ||p_k|| is among the s largest of the row
    nuclear         mean_k ||D_k||_*: atoms have unit norm, so it can only align them, which lowers a group's effective rank
    AuxK            e = x - xhat (no gradient); the k_aux dead atoms of largest |p| reconstruct it: ||e - ehat||^2 / ||e - mean e||^2

    L0 is s r. The paper weighs the nuclear norm 100 where E||x||^2 is about 80,653, which is the default here in the unit E||x||^2 = 1;
    it also normalises each row by its own mean and deviation, where only those of the whole sample are taken out here.
    """

    signed = True

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "groups"
        width: int = Field(default=12_288, ge=1, lt=2**31)
        """Number of latents L, a multiple of the rank."""
        rank: int = Field(default=6, ge=1)
        """Atoms r of a group."""
        groups: int = Field(default=10, ge=1)
        """Groups s kept in each row."""
        unit_encoder: bool = True
        """Whether encoder rows are held at unit norm, as atoms are."""
        nuclear: Weight = Weight(value=100 / 80_653)
        """Nuclear norm of the groups' atoms, their mean."""
        k_aux: int = Field(default=256, ge=1)
        """Dead atoms that reconstruct the error; the paper takes at most D / 2."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead atoms."""

        @property
        def block(self) -> int:
            return self.rank

        def resized(self, *, d_in: int, width: int) -> Dictionary.Config:
            rank = min(self.rank, width)
            return self.revised({"d_in": d_in, "width": width // rank * rank, "rank": rank})

        @model_validator(mode="after")
        def _holds_whole_groups(self) -> Subspace.Config:
            if self.width % self.rank == 0:
                return self
            raise ValueError(f"a width that is a multiple of the rank {self.rank}")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Subspace.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        by = self.encoder, self.encoder_bias, self.config.groups, self.config.rank
        return ops.shifted(ops.select_group_top_k(x, *by, self.decoder_bias), self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        error = step.target - reconstruction
        layer = self.encoder, self.encoder_bias, self.decoder_bias, self.atoms
        norms = ops.nuclear_norm(ranks.local(self.atoms).unflatten(0, (-1, self.config.rank)))
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "nuclear": codes.support.over_latents(norms.sum() * (self.config.rank / self.config.width)),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer, signed=True),
        }
        return Pass(codes, reconstruction, terms)

    @torch.no_grad()
    def after_step(self, result: Pass) -> None:
        """Give encoder rows unit norm again."""
        if self.config.unit_encoder:
            ranks.local(self.encoder).div_(ranks.local(self.encoder).norm(dim=-1, keepdim=True))
