"""How well a judge's probabilities agree with what is so; one latent's agreement, and the mean over latents with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from assay.analysis import probes
from assay.analysis.bootstrap import Drawing, Interval, interval
from assay.config import Config

YES = 0.5
"""A probability from which on a judge's answer is yes."""


class Agreement(Config):
    """What a judge said of windows of one latent against what is so; None where a number is not defined."""

    balanced_accuracy: float | None
    """(TPR + TNR) / 2, yes at a probability of 0.5 or more: 0.5 is what knowing nothing gives, however many windows fire."""
    precision: float | None
    recall: float | None
    """True-positive rate."""
    f1: float | None
    """2 TP / (2 TP + FP + FN)."""
    auc: float | None
    """P(a window where it is so gets a larger probability than one where it is not) + half of P(equal)."""
    by_quantile: dict[int, float]
    """True-positive rate by quantile of the latent's peaks, 0 the weakest."""
    by_kind: dict[str, float]
    """True-negative rate by kind of window."""


def agreement(
    probability: Float[np.ndarray, " n"],
    so: Bool[np.ndarray, " n"],
    quantiles: Sequence[int] = (),
    kinds: Sequence[str] = (),
) -> Agreement:
    """Agreement over n windows; `quantiles` and `kinds` are those of the windows, where they are known."""
    yes = probability >= YES
    hits, fired, positive = int((yes & so).sum()), int(yes.sum()), int(so.sum())
    recall, kept = _share(yes[so]), _share(~yes[~so])
    return Agreement(
        balanced_accuracy=None if recall is None or kept is None else (recall + kept) / 2,
        precision=hits / fired if fired else None,
        recall=recall,
        f1=2 * hits / (fired + positive) if fired + positive else None,
        auc=auc(probability, so),
        by_quantile={int(each): float(yes[so & (np.array(quantiles) == each)].mean()) for each in _of(quantiles, so)},
        by_kind={str(each): float((~yes)[~so & (np.array(kinds) == each)].mean()) for each in _of(kinds, ~so)},
    )


def auc(score: Float[np.ndarray, " n"], so: Bool[np.ndarray, " n"]) -> float | None:
    """P(a positive has the larger score) + half of P(equal); None without positives or without negatives."""
    if so.all() or not so.any():
        return None
    return float(probes.auc(torch.from_numpy(score)[:, None], torch.from_numpy(so)[:, None]))


def correlation(a: Float[np.ndarray, " T"], b: Float[np.ndarray, " T"]) -> float | None:
    """Pearson correlation; None where either is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else None


def mean_over_latents(values: Sequence[float | None], drawing: Drawing | None = None) -> Interval:
    """Mean over the latents where it is defined, and between what the means of as many latents drawn with replacement lie."""
    known = torch.tensor([value for value in values if value is not None], dtype=torch.float64)
    if not len(known):
        return Interval(estimate=None, low=None, high=None)
    counts = (drawing or Drawing()).documents(len(known), "latents")
    return interval(float(known.mean()), counts @ known / len(known))


def mann_whitney(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """One-sided p of values of one dictionary's latents being no larger than another's: 1 - Phi((U - mn/2 - 1/2) / sd).

    U = mn AUC counts pairs in order; sd^2 = mn / 12 ((N + 1) - sum_ties (t^3 - t) / (N (N - 1))). Normal approximation: for 20 latents or
    more of each.
    """
    m, n = len(larger), len(smaller)
    both = np.array([*larger, *smaller], dtype=float)
    area = auc(both, np.arange(m + n) < m)
    _, ties = np.unique(both, return_counts=True)
    variance = m * n / 12 * (m + n + 1 - float((ties.astype(float) ** 3 - ties).sum()) / ((m + n) * (m + n - 1)))
    if area is None or variance <= 0:
        return 1.0
    z = (m * n * (area - 0.5) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2)) / 2


def _share(answers: Bool[np.ndarray, " n"]) -> float | None:
    return float(answers.mean()) if len(answers) else None


def _of(labels: Sequence[int] | Sequence[str], where: Bool[np.ndarray, " n"]) -> list:
    return sorted({label for label, there in zip(labels, where, strict=True) if there}) if len(labels) else []
