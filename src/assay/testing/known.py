"""Dictionaries made by hand, whose scores are known: they say whether a metric measures what it says.

They read planted activations at right angles (`known_planted`), where a linear encoder can see each atom by itself.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from assay.activations.planted import Planted
from assay.dictionaries.jumprelu import JumpReLU
from assay.dictionaries.relu import ReLU
from assay.dictionary import Dictionary

PRESENT = 0.25
"""Threshold of the hand-made encoders: strengths are 0.5 at least."""


def known_planted(*, seed: int = 0, children: int = 3, alone: float = 0.05) -> Planted:
    """32 atoms at right angles in 32 dimensions, in families of a parent and its children; parents are seldom alone."""
    return Planted(width=32, atoms=32, active=3.0, orthogonal=True, children=children, alone=alone, seed=seed)


def oracle(planted: Planted) -> Dictionary:
    """Latent i fires where planted atom i is present, as strongly as it is, and means its direction."""
    return _thresholded(planted.directions, planted.directions, planted)


def absorbing(planted: Planted) -> Dictionary:
    """As the oracle, but parents are silent where a child is present, and children's atoms hold their parent's direction as well."""
    child = planted.parents >= 0
    families = torch.zeros(planted.atoms, planted.atoms)
    families[planted.parents[child], child.nonzero().view(-1)] = 1.0
    encoder = planted.directions - 10 * families @ planted.directions
    both = planted.directions + families.T @ planted.directions
    norms = both.norm(dim=-1, keepdim=True)
    return _thresholded(encoder * norms, both / norms, planted)


def random_directions(planted: Planted, seed: int = 1) -> Dictionary:
    """Latents that mean and read directions drawn anew, as many as there are planted atoms."""
    other = Planted(width=planted.width, atoms=planted.atoms, orthogonal=planted.orthogonal, seed=planted.seed + seed)
    return _thresholded(other.directions, other.directions, planted)


def identity(width: int) -> Dictionary:
    """relu(x) - relu(-x) = x: the raw channels, a latent for each sign."""
    dictionary = ReLU(ReLU.Config(d_in=width, width=2 * width))
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    with torch.no_grad():
        dictionary.encoder.copy_(both)
        dictionary.atoms.copy_(both)
    return dictionary


def constant(value: Float[Tensor, " D"], latents: int = 8) -> Dictionary:
    """No latent ever fires: the reconstruction is always `value`, such as zero or the mean."""
    dictionary = ReLU(ReLU.Config(d_in=len(value), width=latents))
    with torch.no_grad():
        dictionary.encoder.zero_()
        dictionary.mean.copy_(value)
    return dictionary


def known_dictionaries(planted: Planted, mean: Float[Tensor, " D"] | None = None) -> dict[str, Dictionary]:
    """All of them by name; `mean` is that of the rows they will be shown, by default the planted one."""
    return {
        "oracle": oracle(planted),
        "absorbing": absorbing(planted),
        "random": random_directions(planted),
        "identity": identity(planted.width),
        "zero": constant(torch.zeros(planted.width)),
        "mean": constant(planted.mean if mean is None else mean),
    }


def _thresholded(encoder: Float[Tensor, "L D"], atoms: Float[Tensor, "L D"], planted: Planted) -> Dictionary:
    dictionary = JumpReLU(JumpReLU.Config(d_in=planted.width, width=len(atoms)))
    with torch.no_grad():
        dictionary.log_threshold.fill_(math.log(PRESENT))
        dictionary.encoder.copy_(encoder)
        dictionary.atoms.copy_(atoms)
        dictionary.mean.copy_(planted.mean)
    return dictionary
