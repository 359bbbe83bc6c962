"""Activations whose true dictionary is known: sparse non-negative sums of random unit directions.

What a dictionary learner finds can be held against what was planted, which no real activations allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import xxhash
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Planted:
    """x = sum_i f_i a_i + noise, with `atoms` random unit directions a_i in D = `width` dimensions.

    Each atom is present in a row with probability active / atoms, one independent of another. Its strength f_i is uniform in
    [0.5, 1.5], with a random sign if `signed`; the noise is normal, `noise` per dimension. The setting (D = 48, 96 atoms, 3 active)
    is that of the Gated dictionary's calibrations; the law of the strengths, bounded away from zero so that presence is decidable, is
    our choice.
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

    def codes(self, rows: int, key: int) -> Float[Tensor, "rows n"]:
        """The strengths f behind `sample(rows, key)`."""
        return self._codes(rows, self._generator(f"sample {key}"))

    def sample(self, rows: int, key: int) -> Float[Tensor, "rows D"]:
        """Activations: the same (seed, key) gives the same rows, another key independent ones."""
        generator = self._generator(f"sample {key}")
        clean = self._codes(rows, generator) @ self.directions
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
        present = torch.rand(rows, self.atoms, generator=generator) < self.active / self.atoms
        if self.counts:
            fewest, most = self.counts
            wanted = torch.randint(fewest, most + 1, (rows, 1), generator=generator)
            present = torch.rand(rows, self.atoms, generator=generator).argsort(-1).argsort(-1) < wanted
        strength = torch.rand(rows, self.atoms, generator=generator) + 0.5
        sign = torch.rand(rows, self.atoms, generator=generator).sub(0.5).sign() if self.signed else 1.0
        return present * strength * sign

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(xxhash.xxh3_64_intdigest(f"planted {self.seed} {purpose}".encode()) >> 1)
