"""Which latents of a crosscoder are for one of its tensors alone, and which only look so.

The norms of an atom's parts say what it is for. But an L1 penalty drives a small part to zero though the concept is there too (complete
shrinkage: then the other tensor's error holds it), and gives one concept two latents (latent decoupling: then its reconstruction holds
it). Latent scaling (arXiv:2504.02922) looks for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay import ops
from assay.codes import CsrSupport
from assay.dictionary import Dictionary
from assay.errors import ConfigError
from assay.ops.gradient import Factors

ERROR, RECONSTRUCTION = 0.2, 0.5
"""Ratios of latent scaling from which a concept counts as present in another tensor too, as in the paper."""


@dataclass(frozen=True, eq=False)
class LatentScaling:
    """How much of each latent there is in the parts that it is not for; latents that never fired have NaN."""

    shares: Float[Tensor, "L P"]
    """||d_i^l|| / sum_m ||d_i^m||: 1 / P for one that is for all alike."""
    error: Float[Tensor, " L"]
    """Largest beta of another part over that of its own, for the error without the latent."""
    reconstruction: Float[Tensor, " L"]
    """The same, for the reconstruction."""

    def exclusive(self, least: float = 0.9) -> Bool[Tensor, " L"]:
        """Latents that have so much of their norm in one part, by the norms alone."""
        return self.shares.amax(1) >= least

    def false_exclusive(self, least: float = 0.9) -> Bool[Tensor, " L"]:
        """Of these the ones whose concept is in another part too, by its error or by its reconstruction."""
        return self.exclusive(least) & ((self.error > ERROR) | (self.reconstruction > RECONSTRUCTION))

    def own(self) -> Int[Tensor, " L"]:
        """The part with most of each latent's norm."""
        return self.shares.argmax(1)


@torch.no_grad()
def latent_scaling(dictionary: Dictionary, batches: Iterable[Tensor]) -> LatentScaling:
    """Fit beta_i^l = argmin_b E||b f_i d_i - y^l||^2 for every part l, with d_i the atom's largest part, on batches [B D] of raw rows.

    y^l is the error without the latent, a^l - ahat^l + f_i d_i^l, and then the reconstruction ahat^l, both without mean and decoder
    bias. The result holds beta^l / beta^own for the other part where that is largest. An atom of one part is held against another, so
    they must share a basis, as a model and its fine-tuning do at one layer. All in scaled units; a part that
    reconstructs nothing of its own has NaN. Raises ConfigError for a dictionary whose rows have no parts of one width, ShapeMismatch.
    """
    parts = dictionary.config.parts
    if len(parts) < 2 or len(set(parts)) > 1:
        raise ConfigError(
            f"a {dictionary.name} dictionary whose rows have the parts {parts}",
            expected="two parts or more, of one width",
            do="Compare the parts of a crosscoder.",
        )
    atoms = dictionary.atoms.detach().double().unflatten(1, (len(parts), -1))
    norms = ops.part_norms(dictionary.atoms.detach().double(), len(parts))
    own = norms.argmax(1)
    directions = atoms[torch.arange(len(atoms)), own]
    sums = torch.zeros(2, len(atoms), len(parts), dtype=torch.float64)
    energy = torch.zeros(len(atoms), dtype=torch.float64)
    for rows in batches:
        x = dictionary.scaled(rows)
        codes = dictionary.encode_scaled(x).to_csr()
        assert isinstance(codes.support, CsrSupport)
        made = ops.decode(codes, dictionary.atoms).double()
        left = (x.double() - dictionary.decoder_bias.double() - made).unflatten(1, (len(parts), -1))
        values = codes.values.double()
        for target, what in enumerate((left, made.unflatten(1, (len(parts), -1)))):
            for part in range(len(parts)):
                by_latent = Factors(codes.support, values, what[:, part].contiguous()).table()
                sums[target, :, part] += (by_latent * directions).sum(1)
        energy += codes.support.per_latent(values.square())
    sums[0] += energy[:, None] * torch.einsum("ld,lpd->lp", directions, atoms)
    beta = sums / (energy * directions.square().sum(1))[:, None]
    ratio = beta / beta.gather(2, own.expand(2, -1)[..., None])
    others = ratio.scatter(2, own.expand(2, -1)[..., None], -torch.inf).amax(2)
    error, reconstruction = torch.where(energy > 0, others, torch.nan)
    return LatentScaling(norms / norms.sum(1, keepdim=True), error, reconstruction)
