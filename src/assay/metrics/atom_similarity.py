"""How alike a dictionary's directions are: latents that mean or read the same thing, and latents that read what they mean."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from assay.dictionary import Dictionary
from assay.metric import Metric

AT_ONCE = 256
"""Directions compared with all others at once."""
MOST = 4096
"""Directions that are compared, evenly spaced over a wider dictionary; the others are all looked at."""


class _OfWeights(Metric, abstract=True):
    """A number that the dictionary itself decides."""

    def __init__(self) -> None:
        self.found = float("nan")

    def update(self, batch: Dictionary) -> None:
        with torch.no_grad():
            self.found = float(self.of(batch))

    def value(self) -> float:
        return self.found

    @abstractmethod
    def of(self, dictionary: Dictionary) -> Tensor | float: ...


class DecoderSimilarity(_OfWeights, name="decoder_similarity", unit="cosine", better="lower", reads="weights"):
    """mean over latents of max_{j ≠ i} cos(d_i, d_j), d the atoms; E over at most 4,096 of them"""

    def of(self, dictionary: Dictionary) -> Tensor | float:
        return _nearest(dictionary.atoms)


class EncoderSimilarity(_OfWeights, name="encoder_similarity", unit="cosine", better="lower", reads="weights"):
    """mean over latents of max_{j ≠ i} cos(e_i, e_j), e the encoder rows; E over at most 4,096 of them

    Not defined for a dictionary without encoder rows of its own.
    """

    def of(self, dictionary: Dictionary) -> Tensor | float:
        encoder = _encoder(dictionary)
        return float("nan") if encoder is None else _nearest(encoder)


class EncoderDecoderCosine(_OfWeights, name="encoder_decoder_cosine", unit="cosine", better="target", reads="weights"):
    """E over latents of cos(e_i, d_i), encoder row and atom

    Not defined for a dictionary without encoder rows of its own, or from one site to another.
    """

    def of(self, dictionary: Dictionary) -> Tensor | float:
        encoder = _encoder(dictionary)
        if encoder is None or encoder.shape != dictionary.atoms.shape:
            return float("nan")
        return torch.cosine_similarity(encoder.double(), dictionary.atoms.double(), dim=-1).mean()


def _encoder(dictionary: Dictionary) -> Tensor | None:
    """The encoder rows [L D]; None where there are none, or several kinds."""
    named = dictionary.per_latent_parameters()
    found = [tensor for name, tensor in named.items() if name.endswith("encoder") and tensor.ndim == 2]
    return found[0] if len(found) == 1 else None


def _nearest(directions: Tensor) -> Tensor | float:
    """Mean over directions of the largest cosine with another one."""
    count = len(directions)
    if count < 2:
        return float("nan")
    units = directions / directions.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(directions.dtype).tiny)
    chosen = torch.linspace(0, count - 1, min(count, MOST), dtype=torch.float64, device=units.device).round().long()
    nearest = []
    for some in chosen.split(AT_ONCE):
        cosines = units[some] @ units.T
        cosines[torch.arange(len(some)), some] = -torch.inf
        nearest.append(cosines.amax(1))
    return torch.cat(nearest).double().mean()
