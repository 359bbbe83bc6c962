"""What probes make of texts whose activations lost a few latents: is one class gone and no other (TPP), and is a bias gone (SCR)?

A text's activation is the mean over its tokens, and decoding is linear: to silence latents S on every token, and to keep the error, is to
take sum over S of (mean code) * atom from it. So nothing is decoded, and a probe's logit only loses sum of (mean code) * (w . atom).

Source: SAEBench (arXiv:2503.09532). `HEADLINE` latents are silenced, and other numbers N beside; the best N is chosen on the texts that
probes are fitted to and scored on the others: the largest of seven scores on the same texts would flatter whoever varies most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.analysis.pooling import PooledCodes
from assay.analysis.probes import Probes, balanced_accuracy, fit, hits
from assay.analysis.sparse_probing import DENSE_PENALTY

SIZES = (2, 5, 10, 20, 50, 100, 500)
"""N, how many latents are silenced; fewer where fewer have an effect."""
HEADLINE = 20
"""The N that stands for all, set beforehand: the best of seven flatters whoever varies most."""
ROOM = 0.001
"""Accuracy that there must be to win back; where there is less, nothing is (score 0)."""


@dataclass(frozen=True)
class Curve:
    """A score by N, on the texts that probes were fitted to and on the others."""

    train: Mapping[int, float]
    test: Mapping[int, float]
    texts: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """What each text of those not fitted to adds to `test`."""

    @property
    def best(self) -> int:
        """The N that is best on the texts fitted to; of equal ones the smallest."""
        return max(sorted(self.train), key=lambda size: self.train[size])

    @property
    def score(self) -> float:
        """On the other texts, at that N."""
        return self.test[self.best]

    @classmethod
    def mean(cls, curves: Sequence[Curve]) -> Curve:
        """Mean at each N; the texts of all curves one after the other."""
        train, test = (
            {n: sum(part[n] for part in some) / len(some) for n in some[0]}
            for some in ([curve.train for curve in curves], [curve.test for curve in curves])
        )
        texts = {n: tuple(x / len(curves) for curve in curves for x in curve.texts[n]) for n in curves[0].texts}
        return cls(train, test, texts)


OTHERS = tuple(n for n in SIZES if n != HEADLINE)


def formulas(name: str, formula: str) -> dict[str, str]:
    """What a task that silences N latents scores: at `HEADLINE`, of raw channels, at the best N, at the others. `{n}` stands for N."""
    return {
        name: formula.format(n=HEADLINE),
        "channels": "the same of raw channels about the mean of what dictionaries were trained on",
        "best": f"{formula.format(n='N')}; N is best where probes were fitted",
        **{f"{name}_{n}": formula.format(n=n) for n in OTHERS},
    }


def scores(name: str, found: Curve, channels: Curve) -> dict[str, float]:
    """The numbers of these formulas."""
    listed = {f"{name}_{n}": found.test[n] for n in OTHERS}
    return {name: found.test[HEADLINE], "channels": channels.test[HEADLINE], "best": found.score, **listed}


def items(name: str, found: Curve) -> dict[str, list[float]]:
    """What these scores but that of raw channels are the means of, text by text."""
    chosen = {name: HEADLINE, "best": found.best, **{f"{name}_{n}": n for n in OTHERS}}
    return {score: [len(found.texts[n]) * share for share in found.texts[n]] for score, n in chosen.items()}


def by_number(curves: Mapping[str, Curve]) -> dict[str, dict[str, float]]:
    """Each curve on the texts not fitted to, as JSON."""
    return {name: {str(n): value for n, value in curve.test.items()} for name, curve in curves.items()}


@dataclass(frozen=True, eq=False)
class Classes:
    """Probes for each of C classes against the rest, before anything is silenced."""

    x: Float[Tensor, "T D"]
    y: Bool[Tensor, "T C"]
    test: Bool[Tensor, " T"]
    probes: Probes

    @classmethod
    def of(
        cls, x: Float[Tensor, "T D"], y: Bool[Tensor, "T C"], test: Bool[Tensor, " T"], penalty: float = DENSE_PENALTY
    ) -> Classes:
        """Fit them on the texts that are not to test on."""
        return cls(x, y, test, fit(x[~test], y[~test], penalty))

    def accuracy(self, logits: Float[Tensor, "T C"], part: Bool[Tensor, " T"]) -> Float[Tensor, " C"]:
        """Balanced accuracy on some of the texts."""
        return balanced_accuracy(logits[part], self.y[part])

    def tpp(self, codes: PooledCodes, atoms: Float[Tensor, "L D"], sizes: Iterable[int] = SIZES) -> Curve:
        """Targeted probe perturbation: mean over classes i of (clean_i - acc_i) - mean over j != i of (clean_j - acc_j),

        acc being balanced accuracies once the N latents of class i with the largest effect are silenced, where latent l has the effect
        relu(E[f_l | i] - E[f_l | not i]) (w_i . a_l), if that is positive. The field's code goes on to negative effects where it finds too
        few others, silencing what speaks against the class; here fewer are silenced. At most about 1/2: a probe that is left with nothing
        says the same of everyone.
        """
        difference = codes.differences(self.y, ~self.test).clamp_min(0)
        pull = self.probes.weight @ atoms.T
        chosen = [_strongest(effect, max(sizes)) for effect in difference * pull]
        logits = self.probes.logits(self.x)
        shares: tuple[dict[int, Tensor], dict[int, Tensor]] = ({}, {})
        columns = [codes.columns(latents) for latents in chosen]
        for part, share in zip((~self.test, self.test), shares, strict=True):
            clean = hits(logits[part], self.y[part])
            for n in sizes:
                gained = []
                for i, (latents, values) in enumerate(zip(chosen, columns, strict=True)):
                    silenced = logits - values[:, :n] @ pull[:, latents[:n]].T
                    drop = clean - hits(silenced[part], self.y[part])
                    gained.append(drop[:, i] - (drop.sum(1) - drop[:, i]) / (drop.shape[1] - 1))
                share[n] = torch.stack(gained).mean(0)
        return _curve(*shares)


@dataclass(frozen=True, eq=False)
class Confounded:
    """Texts with two attributes of two values, and a probe that saw only those where the one tells the other.

    Column 0 of `y` is the first attribute, column 1 the second; all four combinations must be equally frequent in both parts.
    """

    x: Float[Tensor, "T D"]
    y: Bool[Tensor, "T 2"]
    test: Bool[Tensor, " T"]
    biased: Probes
    clean: Probes
    """For each attribute by itself, fitted to all combinations."""

    @classmethod
    def of(
        cls, x: Float[Tensor, "T D"], y: Bool[Tensor, "T 2"], test: Bool[Tensor, " T"], penalty: float = DENSE_PENALTY
    ) -> Confounded:
        """Fit the biased probe to the combinations (1, 1) and (0, 0), and the clean ones to all."""
        alike = ~test & (y[:, 0] == y[:, 1])
        return cls(x, y, test, fit(x[alike], y[alike][:, :1], penalty), fit(x[~test], y[~test], penalty))

    def accuracies(self, part: Bool[Tensor, " T"]) -> tuple[Float[Tensor, " 2"], Float[Tensor, " 2"]]:
        """Balanced accuracy for either attribute, of the biased probe and of the clean ones."""
        said = self.biased.logits(self.x[part]).expand(-1, 2)
        return balanced_accuracy(said, self.y[part]), balanced_accuracy(self.clean.logits(self.x[part]), self.y[part])

    def room(self) -> float:
        """How much accuracy the bias costs, of the attribute that it costs more."""
        original, clean = self.accuracies(self.test)
        return float((clean - original).max())

    def scr(self, codes: PooledCodes, atoms: Float[Tensor, "L D"], sizes: Iterable[int] = SIZES) -> Curve:
        """Spurious correlation removal: (acc_ablated - acc_biased) / (acc_clean - acc_biased) of the biased probe on one attribute,

        once the N latents are silenced that have the largest |E[f | other = 1] - E[f | other = 0]| |w_other . a| for the other one.
        The attribute is the one that the biased probe knows less of; if it knows of both the same, the score is the mean of the two,
        which the field's code leaves unset. Where less than 0.001 could be won the score is 0. It is not clipped: below 0 silencing
        did harm, above 1 the probe is better than one that saw all.
        """
        original, _ = self.accuracies(self.test)
        asked = [which for which in (0, 1) if float(original[which]) <= float(original.min()) + 1e-9]
        return Curve.mean([self.freed(which, codes, atoms, sizes) for which in asked])

    def freed(self, which: int, codes: PooledCodes, atoms: Float[Tensor, "L D"], sizes: Iterable[int] = SIZES) -> Curve:
        """The same with the attribute that is asked for given, 0 or 1."""
        difference = codes.differences(self.y, ~self.test)[1 - which]
        latents = _strongest((difference * (self.clean.weight[1 - which] @ atoms.T)).abs(), max(sizes))
        values, pull = codes.columns(latents), (self.biased.weight @ atoms[latents].T)[0]
        logits, y = self.biased.logits(self.x), self.y[:, which : which + 1]
        shares: tuple[dict[int, Tensor], dict[int, Tensor]] = ({}, {})
        for part, share in zip((~self.test, self.test), shares, strict=True):
            original, clean = (float(both[which]) for both in self.accuracies(part))
            before = hits(logits[part], y[part])
            for n in sizes:
                freed = logits - (values[:, :n] @ pull[:n])[:, None]
                won = (hits(freed[part], y[part]) - before)[:, 0]
                share[n] = won / (clean - original) if clean - original >= ROOM else torch.zeros_like(won)
        return _curve(*shares)


def _curve(train: Mapping[int, Tensor], test: Mapping[int, Tensor]) -> Curve:
    """From what each text adds."""
    fitted, scored = ({n: float(share.sum()) for n, share in part.items()} for part in (train, test))
    return Curve(fitted, scored, {n: tuple(share.tolist()) for n, share in test.items()})


def _strongest(effect: Float[Tensor, " L"], n: int) -> Int[Tensor, " K"]:
    """The latents with the largest positive effects, at most n of them; of equal ones those that come first."""
    return effect.sort(descending=True, stable=True).indices[: min(n, int((effect > 0).sum()))]
