"""MetaSAE: a BatchTopK dictionary whose atoms a small second one, trained beside it, should not be able to compose.

The second is a critic: it learns to reconstruct the atoms from a few meta-atoms, and atoms that it reconstructs well are pushed away
from its reconstruction. `train_on_atoms` trains a dictionary on the atoms of another, afterwards.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Meta(Dictionary, name="meta", paper="arXiv:2604.03436"):
    """BatchTopK codes; m meta-atoms, and BatchTopK codes g of the L atoms d_i by their own encoder.

    codes            f = z where z is among the k B largest positive of the batch, z = W_enc (x - b_dec) + b_enc; a threshold at inference
    meta             dhat_i = sum_j g_ij m_j + b_meta,  g = the k_meta L largest positive of W_meta (d_i - b_meta)
    meta's loss      mean_i ||d_i - dhat_i||^2, which gives the d_i no gradient
    decomposability  mean_i exp(-||d_i - dhat_i||^2 / sigma^2), which gives meta none: d/d d_i = -(2 / sigma^2) p_i (d_i - dhat_i) / L
    AuxK             e = x - xhat (no gradient); the k_aux largest dead latents reconstruct it: ||e - ehat||^2 / ||e - mean e||^2

    The paper alternates 10 steps of the dictionary with 5 of meta, and standardises each row; here both learn in each step, from terms
    that share no gradient, and rows are scaled as everywhere in this package.
    """

    chooses_by_batch = True
    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept for each row, on average over the batch."""
        meta_share: float = Field(default=0.09, gt=0, lt=1)
        """Meta-atoms, as a share of the latents."""
        k_meta: int = Field(default=8, ge=1)
        """Meta-atoms kept for each atom, on average over the atoms; the paper's text, its code has 4."""
        sigma: float = Field(default=1.0, ge=1e-3, le=1e3)
        """How far from its reconstruction an atom must be to count as indecomposable."""
        decomposability: Weight = Weight(value=0.3)
        """Cost of atoms that meta reconstructs."""
        meta_reconstruction: Weight = Weight()
        """Meta's own loss; zero keeps meta as it began."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error; the paper takes 512."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""
        memory: float = Field(default=0.99, ge=0, lt=1)
        """Share of the threshold that a step keeps."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Meta.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        shape = max(round(config.meta_share * config.width), 1), config.d_in
        directions = torch.randn(shape, generator=torch.Generator().manual_seed(config.seed + 1))
        self.meta_atoms = nn.Parameter(normalize(directions, dim=-1))
        self.meta_encoder = nn.Parameter(self.meta_atoms.detach().clone())
        self.meta_bias = nn.Parameter(torch.zeros(config.d_in))
        for name in ("threshold", "learnt"):
            self.register_buffer(name, torch.zeros(()))
        self.threshold: Tensor
        self.learnt: Tensor

    def composed(self, atoms: Float[Tensor, "L D"]) -> Float[Tensor, "L D"]:
        """dhat_i: what meta makes of each atom. Its own atoms count at unit norm."""
        no_bias = self.meta_encoder.new_zeros(len(self.meta_encoder))
        codes = ops.select_batch_top_k(atoms, self.meta_encoder, no_bias, self.config.k_meta, self.meta_bias)
        return ops.decode(codes, normalize(self.meta_atoms, dim=-1)) + self.meta_bias

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias - self.threshold, self.decoder_bias)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        layer = self.encoder, self.encoder_bias
        codes = ops.rectified(ops.select_batch_top_k(step.x, *layer, self.config.k, self.decoder_bias), layer[1])
        reconstruction = self.decode_scaled(codes)
        composed, error = self.composed(self.atoms.detach()), step.target - reconstruction
        left = (self.atoms - composed.detach()).square().sum(-1)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "decomposability": (-left / self.config.sigma**2).exp().mean(),
            "meta_reconstruction": ops.squared_error(composed, self.atoms.detach()),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer, self.decoder_bias, self.atoms),
        }
        return Pass(codes, reconstruction, terms)

    def after_step(self, result: Pass) -> None:
        learnt = ops.running_threshold(self.threshold, self.learnt, result.codes, self.config.memory)
        self.threshold, self.learnt = learnt
