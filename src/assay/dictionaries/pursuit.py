"""Codes by search and not by an encoder (inference-time optimisation): what the atoms of a dictionary could explain with k of them.

It tells a poor decoder from a poor encoder. Trained, it is dictionary learning: the atoms follow, with the codes fixed.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step
from assay.errors import ConfigError
from assay.ops.pursuit import Update


class Pursuit(Dictionary, name="pursuit", paper="arXiv:2404.16014"):
    """k steps of a pursuit with non-negative codes over unit atoms; each takes the atom that points most along what is left.

    rest    r = x - b_dec - sum_i f_i d_i,  next atom  argmax_i r . d_i  while that is positive
    codes   orthogonal: f = argmin_{f >= 0} ||r||^2 over the atoms taken;  gradient: one step downhill;  matching: that atom alone
    loss    ||x - xhat(f)||^2 with f fixed, which teaches the atoms
    """

    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Steps of the search, and so the most latents that a row may have."""
        update: Update = "orthogonal"
        """How codes are fitted after a step: orthogonal (best, dearest), gradient (as in the paper) or matching (cheapest)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Pursuit.Config = config

    @classmethod
    @torch.no_grad()
    def of(cls, dictionary: Dictionary, *, k: int, update: Update = "orthogonal") -> Pursuit:
        """The same atoms, decoder bias, mean and scale, with codes by pursuit. Raises ConfigError for one that reads several tensors."""
        shape = dictionary.config
        if shape.maps_to or len(shape.parts) > 1:
            raise ConfigError(
                f"a {dictionary.name} dictionary maps or joins several sites",
                expected="one that reconstructs what it reads, of one site",
                do="Pursue each site's rows with `ops.pursue` and the part of the atoms that belongs to it.",
            )
        same = cls(cls.Config(d_in=shape.d_in, width=shape.width, k=k, update=update)).to(dictionary.atoms)
        for name in ("atoms", "decoder_bias", "mean", "scale"):
            getattr(same, name).copy_(getattr(dictionary, name))
        same.normalize_atoms()
        same.provenance = {**dictionary.provenance, "pursued_from": dictionary.name}
        return same

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return ops.pursue(x - self.decoder_bias, self.atoms, self.config.k, self.config.update)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(codes, reconstruction, {"reconstruction": ops.squared_error(reconstruction, step.target)})
