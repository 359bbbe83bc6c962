"""Sparsemax (arXiv:2604.14925) where rows differ in complexity and it is known: do they take more latents, and at what price?"""

from __future__ import annotations

import torch

from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained

SECTION = "8 Sparsemax"
SCALES = {"mask": (1.5, 3.0, 6.0), "simplex": (4.0, 6.0, 9.0)}
KEPT = (1, 2, 3, 4, 6, 9, 14)


def by_complexity(dictionary: Dictionary, planted: Planted, rows: int = 8192) -> float:
    """Correlation, over held-out rows, of active latents with planted ones."""
    found = dictionary.encode(planted.sample(rows, key=1)).l0()
    present = (planted.codes(rows, key=1) != 0).sum(1)
    return float(torch.corrcoef(torch.stack([found.double(), present.double()]))[0, 1])


def _more(mode: str) -> list[Claim]:
    return [
        Claim(
            SECTION,
            "sparsemax",
            f"At equal mean L0 no more is lost than by TopK ({mode}, scale {scale:g})",
            f"explained variance over TopK, {mode} {scale:g}",
            ">= 0",
        )
        for scale in SCALES[mode]
    ]


@trial(
    "96 directions in 48 dimensions, 1 to 6 active, evenly; width 112, 600 steps of 160 rows; TopK without AuxK at the same mean L0",
    *(
        Claim(
            SECTION,
            "sparsemax",
            f"A row takes as many latents as it needs ({mode}, scale fixed at {SCALES[mode][1]:g})",
            f"correlation of L0 with true complexity, {mode}",
            ">= 0.5",
        )
        for mode in SCALES
    ),
    Claim(SECTION, "sparsemax", "The directions are found (mask, scale 3)", "MMCS", ">= 0.9"),
    *_more("mask"),
    *_more("simplex"),
)
def complexity(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, counts=(1, 6), seed=seed)
    shape = {"d_in": 48, "width": 112, "seed": seed}
    arms = {
        f"{mode} {scale:g}": settings("sparsemax", **shape, mode=mode, scale=scale)
        for mode, scales in SCALES.items()
        for scale in scales
    }
    arms |= {f"topk {k}": settings("topk", **shape, k=k, auxk={"value": 0.0}) for k in KEPT}
    dictionaries = trained(arms, planted)
    points = {name: measure(dictionary, planted) for name, dictionary in dictionaries.items()}
    topk = [points[f"topk {k}"] for k in KEPT]
    figures = {"MMCS": points["mask 3"].recovery}
    for mode, scales in SCALES.items():
        middle = dictionaries[f"{mode} {scales[1]:g}"]
        figures[f"correlation of L0 with true complexity, {mode}"] = by_complexity(middle, planted)
        for scale in scales:
            point = points[f"{mode} {scale:g}"]
            over = point.explained_variance - at_l0(topk, point.l0).explained_variance
            figures[f"explained variance over TopK, {mode} {scale:g}"] = over
    return figures
