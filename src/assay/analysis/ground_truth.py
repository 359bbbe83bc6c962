"""How much of a planted dictionary was found: by direction, by firing, and whether a child's latent speaks for its parent.

Each planted atom is assigned one latent, and no latent twice, such that the |cosines| add up to the most. All scores go by that
assignment; an atom that is left over, because there are fewer latents, counts as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.activations.planted import Planted
from assay.analysis.assignment import assign
from assay.codes import SparseCodes
from assay.dictionary import Dictionary

CARRIED = 0.4
"""Share of a parent's strength that a child's latent must carry to stand in for it (as in SAEBench, arXiv:2503.09532)."""
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Recovery:
    """What was found of the planted atoms; NaN where a score is not defined."""

    mcc: float
    """Mean |cosine| of planted atoms with their latents' atoms (mean correlation coefficient, arXiv:2411.13117)."""
    code_correlation: float
    """Mean |Pearson correlation| of planted strengths with their latents' values, over rows."""
    f1: float
    """Mean over planted atoms of 2 TP / (2 TP + FP + FN): does the latent fire where the atom is present?"""
    mmcs: float
    """Mean over planted atoms of the largest cosine with any atom, assigned or not."""
    absorption: float
    """Share of parents' rows where the parent's latent is silent and a child's latent carries 0.4 of the parent's strength or more."""
    dead: float
    """Share of latents that fire on none of the rows."""
    l0: float
    """Active latents a row."""
    explained_variance: float
    """1 - sum ||x - xhat||^2 / sum ||x - E x||^2 of the rows."""


@torch.no_grad()
def recovery(dictionary: Dictionary, planted: Planted, rows: int = 8192, key: int = 1) -> Recovery:
    """Score a dictionary on rows of `planted.sample(rows, key)`. Raises ShapeMismatch."""
    assigned = assign_latents(dictionary, planted)
    x, strengths = planted.sample(rows, key), planted.codes(rows, key)
    codes = [dictionary.encode(part) for part in x.split(ROWS_AT_ONCE)]
    read = [_read(dictionary, planted, assigned, some) for some in codes]
    values, carried = (torch.cat(part) for part in zip(*read, strict=True))
    estimate = torch.cat(
        [dictionary.decode(some, part) for some, part in zip(codes, x.split(ROWS_AT_ONCE), strict=True)]
    )
    raw = x.double()
    return Recovery(
        mcc=float(_cosines(dictionary, planted).gather(1, assigned.clamp_min(0)[:, None])[assigned >= 0].sum())
        / planted.atoms,
        code_correlation=float(_correlation(values, strengths).mean()),
        f1=float(f1(values != 0, strengths != 0).mean()),
        mmcs=planted.recovery(dictionary.atoms, dictionary.config.block),
        absorption=absorption(values, carried, strengths, planted.parents),
        dead=float((torch.stack([some.firings() for some in codes]).sum(0) == 0).double().mean()),
        l0=float(torch.cat([some.l0() for some in codes]).double().mean()),
        explained_variance=1 - float((raw - estimate).square().sum() / (raw - raw.mean(0)).square().sum()),
    )


def assign_latents(dictionary: Dictionary, planted: Planted) -> Int[Tensor, " n"]:
    """The latent (or block of latents) of each planted atom; -1 where none is left."""
    atoms, latents = assign(_cosines(dictionary, planted))
    return torch.full((planted.atoms,), -1).index_put((atoms,), latents)


def f1(fires: Bool[Tensor, "B n"], present: Bool[Tensor, "B n"]) -> Float[Tensor, " n"]:
    """F1 of firing by atom; 0 for one that is present in no row."""
    both, either = (fires & present).sum(0), fires.sum(0) + present.sum(0)
    return 2 * both.double() / either.clamp_min(1)


def absorption(
    values: Float[Tensor, "B n"],
    carried: Float[Tensor, "B n"],
    strengths: Float[Tensor, "B n"],
    parents: Int[Tensor, " n"],
) -> float:
    """Mean over parents of the share of their rows that are absorbed; NaN without children.

    `values` are those of the assigned latents, `carried` how much of the parent's direction each child's latent puts into the row.
    """
    shares = []
    for parent in parents[parents >= 0].unique().tolist():
        here = strengths[:, parent] != 0
        most = carried[here][:, parents == parent].amax(1)
        absorbed = (values[here, parent] == 0) & (most >= CARRIED * strengths[here, parent].abs())
        shares.append(float(absorbed.double().mean()))
    return sum(shares) / len(shares) if shares else float("nan")


def _cosines(dictionary: Dictionary, planted: Planted) -> Float[Tensor, "n L"]:
    """|cosine| of each planted atom with each atom, or with the span of each block of them."""
    atoms = _raw_atoms(dictionary)
    if dictionary.config.block > 1:
        spans = torch.linalg.qr(atoms.view(-1, dictionary.config.block, planted.width).mT).Q
        return torch.einsum("nd,gdr->ngr", planted.directions, spans).norm(dim=-1)
    units = atoms / atoms.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(atoms.dtype).tiny)
    return (planted.directions @ units.T).abs()


def _raw_atoms(dictionary: Dictionary) -> Float[Tensor, "L D"]:
    """Atoms in the units of the activations."""
    return (dictionary.atoms * dictionary.scale).float()


def _read(
    dictionary: Dictionary, planted: Planted, assigned: Int[Tensor, " n"], codes: SparseCodes
) -> tuple[Float[Tensor, "B n"], Float[Tensor, "B n"]]:
    """Of each atom's latent: its value (the norm of a block's values), and what it adds along the atom's parent."""
    block, found = dictionary.config.block, assigned >= 0
    atom_of = torch.full((dictionary.config.width // block,), -1)
    atom_of[assigned[found]] = found.nonzero().view(-1)
    rows, latents, values = codes.entries()
    atom = atom_of[latents // block]
    rows, latents, values, atom = (each[atom >= 0] for each in (rows, latents, values.float(), atom))
    along = (_raw_atoms(dictionary)[latents] * planted.directions[planted.parents[atom]]).sum(-1)
    table, place = torch.zeros(len(codes), planted.atoms), (rows, atom)
    carried = table.index_put(place, values * along, accumulate=True)
    if block == 1:
        return table.index_put(place, values), carried
    return table.index_put(place, values.square(), accumulate=True).sqrt(), carried


def _correlation(x: Float[Tensor, "B n"], y: Float[Tensor, "B n"]) -> Float[Tensor, " n"]:
    """|Pearson correlation| of each column with its like; 0 where one of them does not vary."""
    x, y = (each.double() - each.double().mean(0) for each in (x, y))
    spread = x.norm(dim=0) * y.norm(dim=0)
    return ((x * y).sum(0) / spread).abs().where(spread > 0, 0.0)
