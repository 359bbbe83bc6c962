"""Feature absorption: where a latent for a property is silent because latents for special cases of it say the property as well.

A linear probe knows the property (a word's first letter). The latents that stand for it are found, and for each word that the probe gets
right it is asked how much of the activation along the probe's direction they carry, and how much others do in their place.

Source: SAEBench (arXiv:2503.09532) after arXiv:2409.14507. Two things are done otherwise. The projection of an activation is that about the
mean of the words the probe was fitted to: the mean of all activations can be long, and says nothing of letters. And shares are of what a
latent adds in the units of the activations, whatever the norm of its atom. A dictionary without a latent for the property absorbs
nothing, which is no merit: `main_f1` says whether there was one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.analysis.ground_truth import CARRIED
from assay.analysis.pooling import PooledCodes
from assay.analysis.probes import Probes, f1, fit, fit_sparse, largest_differences

KNOWN = 0.6
"""F1 of the probe from which on a class counts as known to the model."""
CANDIDATES = 32
"""Latents of each class, of the largest difference of means, that the sparse probe chooses from."""
SPARSITY = 0.01
"""Weight of the sparse probe's L1 penalty."""
MOST_MAIN, GAIN = 10, 0.03
"""A class has at most so many main latents; one more must add so much to F1."""
ABSORBERS, COSINE, FULL_COSINE = 3, 0.1, 0.025
"""At most so many absorbing latents of a word, and their least |cosine| with the probe."""
SILENT = 1e-8


@dataclass(frozen=True)
class Absorbed:
    """What became of one class."""

    main: tuple[int, ...]
    """The latents that stand for it, the most telling first."""
    main_f1: float
    """F1 of a probe on their codes, on words that it was not fitted to."""
    words: int
    """Words to test on that the probe gets right."""
    share: float
    """Mean share of what main and absorbing latents carry that the absorbing ones do; NaN without words."""
    full: float
    """Share of words where all main latents are silent and one other carries 0.4 of the projection or more."""


@dataclass(frozen=True, eq=False)
class Words:
    """Activations of single words, their classes, and a probe for each class."""

    x: Float[Tensor, "N D"]
    y: Bool[Tensor, "N C"]
    test: Bool[Tensor, " N"]
    probes: Probes

    @classmethod
    def of(
        cls, x: Float[Tensor, "N D"], y: Bool[Tensor, "N C"], test: Bool[Tensor, " N"], penalty: float = 1e-2
    ) -> Words:
        """Fit the probes to the words that are not to test on."""
        return cls(x, y, test, fit(x[~test], y[~test], penalty))

    def f1(self) -> Float[Tensor, " C"]:
        """F1 of the probes on the words to test on."""
        return f1(self.probes.logits(self.x[self.test]), self.y[self.test])

    def only(self, classes: Bool[Tensor, " C"]) -> Words:
        """The same words with some of the classes."""
        return Words(
            self.x, self.y[:, classes], self.test, Probes(self.probes.weight[classes], self.probes.bias[classes])
        )

    def absorption(self, codes: PooledCodes, atoms: Float[Tensor, "L D"]) -> list[Absorbed]:
        """For each class its main latents, and how much others speak for them."""
        mains = self.main_latents(codes)
        return [self.absorbed(number, main, codes, atoms) for number, main in enumerate(mains)]

    def main_latents(self, codes: PooledCodes) -> list[tuple[int, ...]]:
        """For each class the latents that stand for it: those that a sparse probe weighs most, as many as add 0.03 each to F1.

        Only latents that are larger on the class's words than on others are chosen from; none, if there is none.
        """
        differences = codes.differences(self.y, ~self.test).clamp_min(0)
        tops = [largest_differences(of_class, CANDIDATES) for of_class in differences]
        candidates = torch.cat(tops).unique()
        candidates = candidates[(differences[:, candidates] > 0).any(0)]
        if not len(candidates):
            return [()] * self.y.shape[1]
        table = codes.columns(candidates)[~self.test]
        weight = fit_sparse(table, self.y[~self.test], SPARSITY).weight * table.std(0, correction=0)
        found = []
        for number, (of_class, difference) in enumerate(zip(weight, differences[:, candidates], strict=True)):
            by_difference = difference.sort(descending=True, stable=True).indices
            by_weight = of_class[by_difference].sort(descending=True, stable=True).indices
            order = by_difference[by_weight]
            order = order[difference[order] > 0][:MOST_MAIN]
            found.append(tuple(candidates[order[: self._grown(table[:, order], number)]].tolist()))
        return found

    def absorbed(self, number: int, main: tuple[int, ...], codes: PooledCodes, atoms: Float[Tensor, "L D"]) -> Absorbed:
        """How much others speak for the given main latents of a class, over the words to test on that the probe gets right.

        Of a word let P be the projection on the unit probe w, p_l = f_l (a_l . w) that of a latent, M the sum over main latents, and A that
        over the at most 3 others with the largest p_l > 0 and |cosine| >= 0.1. The share is 0 where M >= P or A < 0.4 P, else 1 where
        M <= 0, else B / (B + M) with B = min(A, P - M).
        """
        unit = self.probes.weight[number] / self.probes.weight[number].norm()
        along = atoms @ unit
        cosine = (along / atoms.norm(dim=1).clamp_min(1e-12)).abs()
        right = self.test & self.y[:, number] & (self.probes.logits(self.x)[:, number] > 0)
        if not main or not right.any():
            return Absorbed(main, 0.0, int(right.sum()), float("nan"), float("nan"))
        whole = (self.x.double()[right] - self.x[~self.test].double().mean(0)) @ unit
        of_main = codes.columns(torch.tensor(main))
        carried = (of_main[right] * along[list(main)]).sum(1)
        other = torch.ones_like(cosine, dtype=torch.bool)
        other[list(main)] = False
        near, somewhat = ((other & (cosine >= least)).nonzero().view(-1) for least in (COSINE, FULL_COSINE))
        by_others = (codes.columns(near)[right] * along[near]).clamp_min(0)
        most = by_others.topk(min(ABSORBERS, by_others.shape[1]), 1).values.sum(1)
        largest = (codes.columns(somewhat)[right] * along[somewhat]).clamp_min(0)
        largest = torch.cat([largest, torch.zeros(len(largest), 1).double()], 1).amax(1)
        silent = (of_main[right].abs() < SILENT).all(1)
        return Absorbed(
            main=main,
            main_f1=self._f1_of(of_main, number),
            words=int(right.sum()),
            share=float(_share(whole, carried, most).mean()),
            full=float((silent & (whole > 0) & (largest >= CARRIED * whole)).double().mean()),
        )

    def _grown(self, columns: Tensor, number: int) -> int:
        """How many of the columns, in their order, are worth having."""
        member, reached = self.y[~self.test][:, number : number + 1], 0.0
        for k in range(1, columns.shape[1] + 1):
            now = float(f1(fit(columns[:, :k], member).logits(columns[:, :k]), member))
            if k > 1 and now - reached <= GAIN:
                return k - 1
            reached = now
        return columns.shape[1]

    def _f1_of(self, columns: Tensor, number: int) -> float:
        member = self.y[:, number : number + 1]
        logits = fit(columns[~self.test], member[~self.test]).logits(columns[self.test])
        return float(f1(logits, member[self.test]))


def _share(whole: Tensor, main: Tensor, others: Tensor) -> Tensor:
    """The absorbed share of each word."""
    taken = torch.minimum(others, whole - main)
    share = torch.where(main <= 0, 1.0, taken / (taken + main))
    return torch.where((main >= whole) | (others < CARRIED * whole), 0.0, share)
