"""Activations whose true dictionary is known: sparse non-negative sums of random unit directions.

What a dictionary learner finds can be held against what was planted, which no real activations allow. `presence` has the laws of which
atoms come together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import xxhash
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.activations import presence
from assay.errors import ConfigError


@dataclass(frozen=True)
class Planted:
    """x = m + sum_i f_i a_i + noise, with `atoms` random unit directions a_i in D = `width` dimensions.

    Each atom is present in a row with probability p_i, all p_i adding up to `active`. They are equal and the atoms independent of one
    another, unless `zipf`, `correlation` or `children` say otherwise. Its strength f_i is uniform in [0.5, 1.5], with a random sign if
    `signed`; the noise is normal, `noise` per dimension; the mean m has length `offset`. The setting (D = 48, 96 atoms, 3 active) is
    that of the Gated dictionary's calibrations; the law of the strengths, bounded away from zero so that presence is decidable, is our
    choice. Raises ConfigError.
    """

    width: int = 48
    """Width D of the activations."""
    atoms: int = 96
    """Planted directions n."""
    active: float = 3.0
    """Atoms present in a row, on average."""
    noise: float = 0.0
    """Standard deviation of the noise in each dimension."""
    seed: int = 0
    """Seed of the directions, and with a key of each sample."""
    signed: bool = False
    """Whether strengths may be negative."""
    orthogonal: bool = False
    """Whether the directions are at right angles, at most D of them."""
    coherence: float = 0.0
    """rho of a spiked model: a_i is sqrt(1 - rho) u_i + sqrt(rho) v at unit norm, v being one direction that all share."""
    counts: tuple[int, int] | None = None
    """If given, the fewest and the most atoms of a row: each has a number drawn evenly between them, whatever `active`."""
    zipf: float = 0.0
    """Exponent of Zipf's law: p_i falls as 1 / (i + 1)^zipf, but for those that would be in more than half of the rows."""
    correlation: float = 0.0
    """How much the atoms of a cluster come together: the correlation rho of the normal numbers that decide about their presence."""
    cluster: int = 8
    """Consecutive atoms that form a cluster, where there is a correlation."""
    children: int = 0
    """Children of an atom. In each 1 + children consecutive atoms the first is the parent; a child comes with it or not at all."""
    alone: float = 0.3
    """Share of a parent's rows without a child; in the others there is one of its children."""
    offset: float = 0.0
    """Length of the mean m, in a random direction."""

    def __post_init__(self) -> None:
        if self.atoms % (1 + self.children) or not (0 <= self.correlation < 1 and 0 <= self.alone <= 1):
            raise ConfigError(
                f"{self.atoms} atoms, {self.children} children each, correlation {self.correlation}, alone {self.alone}",
                expected="whole families, 0 <= correlation < 1, 0 <= alone <= 1",
                do="Choose a number of atoms that 1 + children divides.",
            )

    @cached_property
    def directions(self) -> Float[Tensor, "n D"]:
        """The true atoms: unit norm, uniform on the sphere."""
        normal = torch.randn(self.atoms, self.width, generator=self._generator("atoms"))
        units = torch.linalg.qr(normal.T).Q.T if self.orthogonal else normal / normal.norm(dim=-1, keepdim=True)
        if not self.coherence:
            return units
        shared = torch.randn(self.width, generator=self._generator("shared"))
        spiked = (1 - self.coherence) ** 0.5 * units + self.coherence**0.5 * shared / shared.norm()
        return spiked / spiked.norm(dim=-1, keepdim=True)

    @cached_property
    def mean(self) -> Float[Tensor, " D"]:
        """What is in every row."""
        if not self.offset:
            return torch.zeros(self.width)
        normal = torch.randn(self.width, generator=self._generator("mean"))
        return self.offset * normal / normal.norm()

    @cached_property
    def parents(self) -> Int[Tensor, " n"]:
        """The parent of each atom; -1 where it has none."""
        atoms = torch.arange(self.atoms)
        return torch.where(atoms % (1 + self.children) > 0, atoms - atoms % (1 + self.children), -1)

    def codes(self, rows: int, key: int) -> Float[Tensor, "rows n"]:
        """The strengths f behind `sample(rows, key)`."""
        return self._codes(rows, self._generator(f"sample {key}"))

    def sample(self, rows: int, key: int) -> Float[Tensor, "rows D"]:
        """Activations: the same (seed, key) gives the same rows, another key independent ones."""
        generator = self._generator(f"sample {key}")
        clean = self._codes(rows, generator) @ self.directions + self.mean
        return clean + self.noise * torch.randn(rows, self.width, generator=generator)

    def recovery(self, atoms: Float[Tensor, "L D"], block: int = 1) -> float:
        """MMCS: mean over true atoms of the largest cosine with a learned atom; of its absolute value if `signed`. 1 is perfect.

        Where `block` atoms stand for a subspace together, of the cosine with it.
        """
        units = atoms.detach() / atoms.detach().norm(dim=-1, keepdim=True).clamp_min(torch.finfo(atoms.dtype).tiny)
        if block > 1:
            spans = torch.linalg.qr(units.view(-1, block, self.width).mT).Q
            return torch.einsum("nd,gdr->ngr", self.directions.to(units), spans).norm(dim=-1).amax(-1).mean().item()
        cosines = self.directions.to(units) @ units.T
        return (cosines.abs() if self.signed else cosines).amax(dim=-1).mean().item()

    def _codes(self, rows: int, generator: torch.Generator) -> Float[Tensor, "rows n"]:
        present = self._present(rows, generator)
        strength = torch.rand(rows, self.atoms, generator=generator) + 0.5
        sign = torch.rand(rows, self.atoms, generator=generator).sub(0.5).sign() if self.signed else 1.0
        return present * strength * sign

    def _present(self, rows: int, generator: torch.Generator) -> Bool[Tensor, "rows n"]:
        if self.counts:
            return presence.counted(rows, self.atoms, *self.counts, generator)
        families = self.atoms // (1 + self.children)
        members = 2 - self.alone if self.children else 1.0
        rates = presence.rates(families, self.active / members, self.zipf)
        if self.correlation:
            roots = presence.correlated(rows, rates, self.correlation, self.cluster, generator)
        else:
            roots = presence.independent(rows, rates, generator)
        return presence.with_children(roots, self.children, self.alone, generator) if self.children else roots

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(xxhash.xxh3_64_intdigest(f"planted {self.seed} {purpose}".encode()) >> 1)
