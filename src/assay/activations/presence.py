"""Which planted atoms are there together: each for itself, in clusters, or a child only where its parent is.

All laws but `counted` have the same number of atoms in a row on average, and say how often each of them is there.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

COMMONEST = 0.5
"""No atom is in more than half of the rows: what is always there is part of the mean."""


def rates(atoms: int, active: float, zipf: float = 0.0) -> Float[Tensor, " n"]:
    """p_i = min(c / (i + 1)^zipf, 1/2) with c such that sum_i p_i = active; with zipf 0 all are active / atoms."""
    if not zipf:
        return torch.full((atoms,), active / atoms)
    law = torch.arange(1, atoms + 1, dtype=torch.float64) ** -zipf
    low, high = 0.0, COMMONEST / float(law[-1])
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if float((middle * law).clamp_max(COMMONEST).sum()) < active else (low, middle)
    return (high * law).clamp_max(COMMONEST).float()


def independent(rows: int, rates: Float[Tensor, " n"], generator: Generator) -> Bool[Tensor, "rows n"]:
    """Each atom for itself."""
    return torch.rand(rows, len(rates), generator=generator) < rates


def counted(rows: int, atoms: int, fewest: int, most: int, generator: Generator) -> Bool[Tensor, "rows n"]:
    """A number of atoms drawn evenly from `fewest` to `most`, any of them."""
    counts = torch.randint(fewest, most + 1, (rows, 1), generator=generator)
    return torch.rand(rows, atoms, generator=generator).argsort(-1).argsort(-1) < counts


def correlated(
    rows: int, rates: Float[Tensor, " n"], correlation: float, cluster: int, generator: Generator
) -> Bool[Tensor, "rows n"]:
    """Atom i is there where sqrt(rho) g_c + sqrt(1 - rho) e_i < Phi^-1(p_i): its cluster c of consecutive atoms shares the normal g_c."""
    clusters = torch.arange(len(rates)) // cluster
    shared = torch.randn(rows, int(clusters[-1]) + 1, generator=generator)[:, clusters]
    own = torch.randn(rows, len(rates), generator=generator)
    normal = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
    return normal < torch.special.ndtri(rates.double()).float()


def with_children(
    parents: Bool[Tensor, "rows F"], children: int, alone: float, generator: Generator
) -> Bool[Tensor, "rows n"]:
    """Each parent and, behind it, its children: with probability `alone` none of them, else one, each as likely."""
    rows, families = parents.shape
    draw = torch.rand(rows, families, generator=generator)
    child = ((draw - alone) / max(1 - alone, torch.finfo(draw.dtype).tiny) * children).floor()
    chosen = (child[..., None] == torch.arange(children)) & (draw >= alone)[..., None] & parents[..., None]
    return torch.cat([parents[..., None], chosen], -1).flatten(1)
