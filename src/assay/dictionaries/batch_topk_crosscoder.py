"""BatchTopK crosscoder: one code for several tensors, with a count in place of the penalty that would shrink parts of atoms to zero."""

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


class BatchTopKCrosscoder(Dictionary, name="batch_topk_crosscoder", paper="arXiv:2504.02922"):
    """x is the tensors a^l side by side, each scaled to E||a^l||^2 = 1; so are the atoms d_i = (d_i^1, ..., d_i^n), of free norm.

    pre-activation  z = W_enc x + b_enc,  s_i = sum_l ||d_i^l||
    training        f = z where s z is among the k B largest positive of the batch
    inference       f = z 1[s z > theta],  theta = running mean of the smallest s f of each batch
    loss            sum_l ||a^l - ahat^l||^2;  AuxK on what is left, as in `batch_topk`
    """

    chooses_by_batch = True

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        sites: int = Field(default=2, ge=1)
        """Tensors that stand side by side, all of one width."""
        k: int = Field(default=32, ge=1)
        """Latents kept for each row, on average over the batch."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""
        memory: float = Field(default=0.99, ge=0, lt=1)
        """Share of the threshold that a step keeps."""

        @model_validator(mode="after")
        def _divides(self) -> BatchTopKCrosscoder.Config:
            if self.d_in % self.sites:
                raise ValueError(f"d_in = {self.d_in} in {self.sites} parts of equal width")
            return self

        @property
        def parts(self) -> tuple[int, ...]:
            return (self.d_in // self.sites,) * self.sites

        @classmethod
        def for_parts(cls, parts: tuple[int, ...]) -> dict[str, Any]:
            return {"d_in": sum(parts), "sites": len(parts)}

        def resized(self, *, d_in: int, width: int) -> BatchTopKCrosscoder.Config:
            return self.revised({"d_in": d_in, "width": width, "sites": gcd(self.sites, d_in)})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: BatchTopKCrosscoder.Config = config
        self.unit_atoms = False
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("learnt", torch.zeros(()))
        self.threshold: Tensor
        self.learnt: Tensor

    def norms(self) -> Float[Tensor, " L"]:
        """s_i = sum_l ||d_i^l||: what a code is worth where it is chosen; no gradient."""
        return ops.part_norms(self.atoms.detach(), self.config.sites).sum(1)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        shift = self.encoder_bias - self.threshold / self.norms()
        products = ops.select_positive(x, self.encoder, shift)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        layer, norms = (self.encoder, self.encoder_bias), self.norms()
        worth = ops.select_batch_top_k(step.x, self.encoder * norms[:, None], self.encoder_bias * norms, self.config.k)
        codes = ops.rectified(worth.with_values(worth.values / worth.spread(norms)), self.encoder_bias)
        reconstruction = self.decode_scaled(codes)
        error = step.target - reconstruction
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer, None, self.atoms),
        }
        return Pass(codes, reconstruction, terms, {"worth": (codes.values * codes.spread(norms)).detach()})

    def after_step(self, result: Pass) -> None:
        """Take the smallest active s f of the batch into the threshold's running mean."""
        worth = result.codes.with_values(result.notes["worth"])
        self.threshold, self.learnt = ops.running_threshold(self.threshold, self.learnt, worth, self.config.memory)
