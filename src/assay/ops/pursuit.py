"""Sparse codes by search: atoms are taken one at a time, and the coefficients of those taken are fitted anew each time.

Greedy, for given unit atoms: what a decoder allows, apart from what an encoder makes of it. Codes are non-negative.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.codes import SparseCodes, offsets_of
from assay.ops import path

Update: TypeAlias = Literal["orthogonal", "gradient", "matching"]
"""How the coefficients are fitted after an atom was taken."""

CHOSEN_AT_ONCE = 1 << 22
"""Numbers of the atoms of some rows that are gathered at once."""


def pursue(x: Float[Tensor, "B D"], atoms: Float[Tensor, "L D"], k: int, update: Update = "orthogonal") -> SparseCodes:
    """At most k non-negative coefficients a row, by k steps; each takes the atom with the largest positive r . d_i.

    r = x - sum_i f_i d_i is what is left of the row, and then the coefficients are fitted:

    orthogonal   f = argmin_{f >= 0} ||x - sum_i f_i d_i||^2 over the atoms taken (orthogonal matching pursuit; active sets)
    gradient     f <- relu(f + a g), g = D r on the atoms taken, a = ||g||^2 / ||D^T g||^2 (Blumensath and Davies 2008)
    matching     the coefficient of that atom alone, f_i <- f_i + r . d_i (Mallat and Zhang 1993)
    A row is done when no atom points along what is left of it, to about the root of the rounding. No gradient.
    """
    with torch.no_grad():
        k = min(k, len(atoms))
        rows = max(CHOSEN_AT_ONCE // max(k * x.shape[1], 1), 1)
        parts = [_pursued(some, atoms, k, update) for some in x.split(rows)] if len(x) else []
        latents = torch.cat([part[0] for part in parts]) if parts else torch.zeros(0, k, dtype=torch.int64)
        values = torch.cat([part[1] for part in parts]) if parts else x.new_zeros(0, k)
        latents, order = latents.to(x.device).sort(dim=1)
        values = values.gather(1, order)
        kept = values > 0
        return SparseCodes.csr(offsets_of(kept.sum(1)), latents[kept], values[kept], len(atoms))


def _pursued(x: Tensor, atoms: Tensor, k: int, update: Update) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
    """Atoms taken, and their coefficients; where nothing was taken the coefficient is zero."""
    latents = torch.zeros(len(x), k, dtype=torch.int64, device=x.device)
    values, taken = x.new_zeros(len(x), k), torch.zeros(len(x), k, dtype=torch.bool, device=x.device)
    chosen = x.new_zeros(len(x), k, x.shape[1])
    gram, wanted = x.new_zeros(len(x), k, k), x.new_zeros(len(x), k)
    zeros, center = x.new_zeros(len(atoms)), x.new_zeros(x.shape[1])
    rest, enough = x, torch.finfo(x.dtype).eps ** 0.5 * x.norm(dim=1)
    for step in range(k):
        _, best, product = path.serving(rest, atoms).top(rest, center, atoms, zeros, 1)
        again = (latents[:, :step] == best[:, None]) & taken[:, :step]
        useful = product > enough
        latents[:, step], chosen[:, step] = best, atoms[best]
        taken[:, step] = useful & ~again.any(1)
        here = chosen[:, : step + 1], values[:, : step + 1], taken[:, : step + 1]
        if update == "matching":
            values[:, step] = product * taken[:, step]
            values[:, :step] += again * (product * useful)[:, None]
        elif update == "gradient":
            values[:, : step + 1] = _descended(rest, *here)
        else:
            gram[:, step, : step + 1] = gram[:, : step + 1, step] = torch.einsum("bkd,bd->bk", here[0], chosen[:, step])
            wanted[:, step] = (x * chosen[:, step]).sum(1)
            values[:, : step + 1] = _nonnegative_least_squares(
                gram[:, : step + 1, : step + 1], wanted[:, : step + 1], *here[1:]
            )
        rest = x - torch.einsum("bk,bkd->bd", values[:, : step + 1], here[0])
    return latents, values


def _descended(rest: Tensor, chosen: Tensor, values: Tensor, taken: Bool[Tensor, "B k"]) -> Tensor:
    slope = torch.einsum("bkd,bd->bk", chosen, rest) * taken
    along = torch.einsum("bk,bkd->bd", slope, chosen).square().sum(1)
    size = slope.square().sum(1) / along.clamp_min(torch.finfo(rest.dtype).tiny)
    return (values + size[:, None] * slope).relu()


def _nonnegative_least_squares(
    gram: Float[Tensor, "B k k"], wanted: Float[Tensor, "B k"], values: Float[Tensor, "B k"], taken: Bool[Tensor, "B k"]
) -> Float[Tensor, "B k"]:
    """min_{f >= 0} ||x - f D||^2 on the atoms taken, from the best f of all but the last (Lawson and Hanson 1974), of D D^T and D x.

    Atoms whose coefficient would turn negative leave for this step: towards the free optimum as far as f >= 0 allows, and again.
    """
    tiny = 8 * torch.finfo(wanted.dtype).eps  # keeps atoms that depend on each other solvable
    values, active = values.clone(), taken.clone()
    rows = torch.arange(len(values), device=values.device)  # those that are not at their optimum yet
    for _ in range(taken.shape[1]):
        here, before = active[rows], values[rows]
        system = torch.where(here[:, :, None] & here[:, None, :], gram[rows], 0)
        system.diagonal(dim1=1, dim2=2).add_(torch.where(here, tiny, 1.0))
        factor, failed = torch.linalg.cholesky_ex(system)
        if failed.any():
            free = torch.linalg.solve(system, wanted[rows] * here) * here
        else:
            free = torch.cholesky_solve((wanted[rows] * here)[:, :, None], factor)[:, :, 0] * here
        bad = here & (free <= 0)
        share = torch.where(bad, before / (before - free).clamp_min(tiny), torch.inf)
        reach = share.amin(1, keepdim=True).clamp(max=1.0)
        leaving = bad & (share <= reach)
        moved = torch.where(here, before + reach * (free - before), 0).relu().masked_fill(leaving, 0)
        values[rows], active[rows] = torch.where(bad.any(1, keepdim=True), moved, free), here & ~leaving
        rows = rows[bad.any(1)]
        if not len(rows):
            break
    return values
