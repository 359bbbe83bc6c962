"""Matryoshka BatchTopK SAE: nested prefixes of the latents must each reconstruct alone, so that general ones come first.

A parent that is absorbed into its children would be missing from the short prefixes, which hold no children.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Matryoshka(Dictionary, name="matryoshka", paper="arXiv:2503.17547"):
    """BatchTopK codes over all latents; the loss adds what each prefix of M_1 < ... < M_G = L latents leaves.

    codes     f = z where z is among the k B largest positive of the batch, z = W_enc (x - b_dec) + b_enc; a threshold at inference
    prefixes  sum_{g < G} ||x - (sum_{i < M_g} f_i d_i + b_dec)||^2;  the reconstruction is that of g = G
    AuxK      e = x - xhat (no gradient); the k_aux largest dead latents reconstruct it: ||e - ehat||^2 / ||e - mean e||^2

    All prefixes cost one decode. Their lengths are fixed, or drawn anew in each step from a Pareto law P(M > m) ~ m^-1/2 cut off at L
    (the exponent is our choice). The price is a worse reconstruction at full width than BatchTopK's; and where nothing is general, as
    among independent planted directions, the short prefixes blend what they can't hold (MMCS .93 at k = 2, .76 at 6).
    """

    chooses_by_batch = True

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept for each row, on average over the batch."""
        groups: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
        """Shares of the latents that each prefix adds to the one before; the whole dictionary adds the rest."""
        drawn: int = Field(default=0, ge=0)
        """Prefixes drawn in each step, in place of those of `groups`; 0 draws none."""
        prefixes: Weight = Weight()
        """Squared error of the shorter prefixes, summed over them."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error; the paper takes a power of two near D / 2."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""
        memory: float = Field(default=0.99, ge=0, lt=1)
        """Share of the threshold that a step keeps."""

        @model_validator(mode="after")
        def _leaves_a_rest(self) -> Matryoshka.Config:
            if sum(self.groups) >= 1:
                raise ValueError(f"groups that add up to less than 1; these make {sum(self.groups):g}")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Matryoshka.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        for name, start in {"threshold": 0.0, "learnt": 0.0, "steps": 0}.items():
            self.register_buffer(name, torch.tensor(start))
        self.threshold: Tensor
        self.learnt: Tensor
        self.steps: Tensor

    def ends(self) -> list[int]:
        """Lengths M_1 <= ... <= M_G = L of the prefixes of this step."""
        width, drawn = self.config.width, self.config.drawn
        if not drawn:
            return [max(int(share * width), 1) for share in accumulate(self.config.groups)] + [width]
        return [*ops.drawn_prefixes(width, drawn, self.config.seed, int(self.steps)), width]

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias - self.threshold, self.decoder_bias)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        layer = self.encoder, self.encoder_bias
        products = ops.select_batch_top_k(step.x, *layer, self.config.k, self.decoder_bias)
        codes = ops.rectified(products, self.encoder_bias)
        *shorter, reconstruction = ops.decode_nested(codes, self.atoms, self.ends()) + self.decoder_bias
        error = step.target - reconstruction
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "prefixes": sum((ops.squared_error(each, step.target) for each in shorter), error.new_zeros(())),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer, self.decoder_bias, self.atoms),
        }
        return Pass(codes, reconstruction, terms)

    def after_step(self, result: Pass) -> None:
        """Take the smallest active value of the batch into the threshold's running mean, and count the step."""
        learnt = ops.running_threshold(self.threshold, self.learnt, result.codes, self.config.memory)
        self.threshold, self.learnt = learnt
        self.steps = self.steps + 1
