"""Unlearning by clamping: latents that fire on text to be forgotten and hardly on text to be retained are held at a negative value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.dictionary import Dictionary

CHUNK = 2048
"""Rows that are encoded at once."""

Change: TypeAlias = Callable[[Tensor], Tensor]
"""Raw rows [N D] in, what takes their place [N D] out."""
Losses: TypeAlias = Callable[[Sequence[Change]], Tensor]
"""Mean loss in each of K contexts of the forget text and of the retain text, for each of C changes: [C 2 K]. Every other context makes
one half of a text."""


@dataclass(frozen=True)
class Clamping:
    """Latents held at minus some multiple of their mean value, and what that does."""

    threshold: float
    """tau: only latents that fire on fewer retain rows than that."""
    count: int
    """n: the so many of them that fire on most forget rows."""
    strength: float
    """c, in each latent's own mean value on the forget rows, since values of different dictionaries have no unit in common."""
    latents: tuple[int, ...]
    rise: tuple[float, ...]
    """Loss in each context of the forget text, less the clean one, in nats."""
    rise_retain: tuple[float, ...]
    """The same of the retain text."""


@dataclass(frozen=True)
class Unlearning:
    """Every clamping that was tried."""

    forget_loss: tuple[float, ...]
    """Clean, in each context, in nats."""
    retain_loss: tuple[float, ...]
    """The same of the retain text, in nats."""
    qualify: int
    """Latents that the largest tau lets through."""
    tried: tuple[Clamping, ...]
    """None where no latent qualifies."""

    def best(self, half: int, bound: float) -> Clamping | None:
        """By one half of both texts, the largest rise on the forget text for a rise on the retain text of at most a share of its loss.

        None where none does better than leaving the model alone, which is always allowed.
        """
        most = bound * fmean(self.retain_loss[half::2])
        cheap = [each for each in self.tried if fmean(each.rise_retain[half::2]) <= most]
        found = max(cheap, key=lambda each: fmean(each.rise[half::2]), default=None)
        return found if found and fmean(found.rise[half::2]) > 0 else None

    def rises(self, bound: float) -> tuple[list[float], list[float]]:
        """Of each context, the rise on the forget text, and on the retain text as a share of its half's loss, as they add to a mean.

        Each half is under the setting that is best by the other one, and both halves count alike, whatever their number of contexts.
        """
        forgotten, retained = ([0.0] * len(self.forget_loss) for _ in range(2))
        for half in (0, 1):
            loss = self.retain_loss[half::2]
            weight = len(self.forget_loss) / (2 * len(loss))
            if found := self.best(1 - half, bound):
                forgotten[half::2] = [weight * rise for rise in found.rise[half::2]]
                retained[half::2] = [weight * rise / fmean(loss) for rise in found.rise_retain[half::2]]
        return forgotten, retained


@torch.no_grad()
def unlearn(
    dictionary: Dictionary,
    forget: Float[Tensor, "N D"],
    retain: Float[Tensor, "M D"],
    losses: Losses,
    *,
    thresholds: Sequence[float],
    counts: Sequence[int],
    strengths: Sequence[float],
) -> Unlearning:
    """Try every setting of (tau, n, c): choose latents by rows of both texts, clamp them, and ask the model for both losses.

    Of latents with density < tau on the retain rows and > 0 on the forget rows, the n of highest density on the forget rows; where a
    chosen latent fires it becomes -c times its mean value there, and what the dictionary does not reconstruct stays. Settings that
    choose the same latents are tried once. `losses` belong to text that the choice did not see. Raises ShapeMismatch.
    """
    fires, mean = firing(dictionary, forget)
    strays, _ = firing(dictionary, retain)
    chosen = {}
    for threshold, count in product(thresholds, counts):
        latents = qualifying(fires, strays, threshold)[:count].tolist()
        if latents:
            chosen.setdefault(tuple(latents), threshold)
    settings = [(latents, threshold, c) for (latents, threshold), c in product(chosen.items(), strengths)]
    changes = [clamping(dictionary, latents, -c * mean[list(latents)]) for latents, _, c in settings]
    clean, *changed = losses([lambda x: x, *changes]).double()
    tried = [
        Clamping(threshold, len(latents), c, latents, *_by_text(after - clean))
        for (latents, threshold, c), after in zip(settings, changed, strict=True)
    ]
    return Unlearning(*_by_text(clean), len(qualifying(fires, strays, max(thresholds))), tuple(tried))


def _by_text(losses: Float[Tensor, "2 K"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Figures of the forget text's contexts, and of the retain text's."""
    forget, retain = losses.tolist()
    return tuple(forget), tuple(retain)


def firing(dictionary: Dictionary, x: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " L"], Float[Tensor, " L"]]:
    """Density of each latent in float64, and its mean value where it fires."""
    fires, values = torch.zeros(2, dictionary.config.width, dtype=torch.float64).unbind()
    for rows in x.split(CHUNK):
        codes = dictionary.encode(rows)
        fires = fires + codes.firings().double()
        values = values + codes.support.per_latent(codes.values.double())
    return fires / len(x), (values / fires.clamp_min(1)).to(dictionary.atoms.dtype)


def qualifying(fires: Float[Tensor, " L"], strays: Float[Tensor, " L"], threshold: float) -> Int[Tensor, " Q"]:
    """Latents that fire on forget rows and on fewer than `threshold` of the retain rows, the most frequent on forget rows first."""
    order = fires.argsort(descending=True, stable=True)
    return order[((strays < threshold) & (fires > 0))[order]]


def clamping(dictionary: Dictionary, latents: Sequence[int], to: Float[Tensor, " n"]) -> Change:
    """x + decode(f') - decode(f), with f'_l = `to`_l where a chosen latent fires and f' = f elsewhere: the error term is kept."""
    value = to.new_full((dictionary.config.width,), torch.nan)
    value[list(latents)] = to

    def change(x: Tensor) -> Tensor:
        codes = dictionary.encode(x).to_csr()
        held = codes.spread(value)
        clamped = codes.with_values(torch.where(held.isnan(), codes.values, held))
        return x + (dictionary.decode(clamped, x) - dictionary.decode(codes, x))

    return change
