"""Rules as explanations of all latents of a dictionary: found, run by every scorer, and swapped for the control arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.interp.agreement import Agreement
from assay.interp.judge import RuleJudge
from assay.interp.scorers import detection, fuzzing, shuffled
from assay.interp.search import find_rule
from assay.interp.windows import LatentWindows, strongest


@dataclass(frozen=True)
class Explained:
    """A latent and what is said of it."""

    windows: LatentWindows
    text: str
    """The explanation; "" where none was found."""
    f1: float | None
    """F1 over tokens of the best rule where it was sought; None where no token fires."""


def explain(windows: LatentWindows, least_f1: float) -> Explained:
    """The best rule on the windows that explanations are made from, if its F1 over tokens there is `least_f1` or more."""
    found = find_rule(windows.train)
    text = str(found.rule) if found and found.f1 >= least_f1 else ""
    return Explained(windows, text, found.f1 if found else None)


def swapped(explained: Sequence[Explained], seed: int) -> list[tuple[str, LatentWindows]]:
    """The control arm: each latent with the explanation of another one; empty with fewer than two latents."""
    others = shuffled(len(explained), seed) if len(explained) > 1 else []
    return [(explained[other].text, explained[own].windows) for own, other in enumerate(others)]


def run_rules(explained: Sequence[Explained], *, strong: int, seed: int) -> dict[str, list[Agreement]]:
    """Each scorer's agreement by latent. `*_strong` judge by the `strong` largest quantiles of peaks, and by all silent windows."""
    judge = RuleJudge()
    whole = [(each.text, each.windows.test) for each in explained]
    upper = [(text, strongest(windows, strong)) for text, windows in whole]
    return {
        "detection": [detection(judge, *pair) for pair in whole],
        "detection_strong": [detection(judge, *pair) for pair in upper],
        "fuzzing": [fuzzing(judge, *pair, seed=seed) for pair in whole],
        "fuzzing_strong": [fuzzing(judge, *pair, seed=seed) for pair in upper],
        "fuzzing_active": [fuzzing(judge, *pair, wrong="active", seed=seed) for pair in whole],
        "fuzzing_moved": [fuzzing(judge, *pair, moved=1, seed=seed) for pair in whole],
        "shuffled": [detection(judge, text, windows.test) for text, windows in swapped(explained, seed)],
    }


def breakdowns(detected: Sequence[Agreement], density: Sequence[float]) -> dict[str, Any]:
    """Detection by quantile of the peaks and by kind of silent window, and F1 weighted by how often a latent fires."""
    quantiles = sorted({quantile for one in detected for quantile in one.by_quantile})
    kinds = sorted({kind for one in detected for kind in one.by_kind})
    f1 = np.array([one.f1 or 0.0 for one in detected])
    return {
        "detected_by_quantile": [
            float(np.mean([one.by_quantile[each] for one in detected if each in one.by_quantile])) for each in quantiles
        ],
        "silent_by_kind": {
            each: float(np.mean([one.by_kind[each] for one in detected if each in one.by_kind])) for each in kinds
        },
        "f1_weighted_by_frequency": float(f1 @ density / sum(density)) if len(f1) else None,
    }
