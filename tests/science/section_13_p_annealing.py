"""p-annealing (arXiv:2408.00113) where the truth is known: on ReLU codes against ReLU and Gated, on the gate against Gated."""

from __future__ import annotations

from assay.activations.planted import Planted
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained

SECTION = "13.6 p-annealing"
L0 = 3.5
DIALS = {
    "p_anneal": (0.2, 0.3, 0.45),
    "gated_anneal": (0.4, 0.5, 0.65),
    "gated": (0.4, 0.55, 0.8),
    "relu": (0.25, 0.4, 0.6),
}


@trial(
    "96 directions in 48 dimensions, 3 active; width 112, 600 steps of 160 rows, p from 1 to 0.2 in 10 changes from 0.3 of training; "
    "read off at L0 3.5 over three dials an arm",
    Claim(
        SECTION, "p_anneal", "Explains more than an L1 penalty at equal L0", "explained variance over ReLU", ">= 0.05"
    ),
    Claim(SECTION, "p_anneal", "Shrinks less than an L1 penalty", "gamma over that of ReLU", ">= 0.1"),
    Claim(
        SECTION, "p_anneal", "Comes near Gated with a plain ReLU encoder", "explained variance over Gated", ">= -0.02"
    ),
    Claim(
        SECTION,
        "gated_anneal",
        "Gated gains by it, or loses nothing",
        "explained variance of the annealed gate over Gated",
        ">= -0.01",
    ),
    Claim(SECTION, "p_anneal", "The directions are found", "MMCS of p_anneal", ">= 0.9"),
    Claim(SECTION, "gated_anneal", "The directions are found", "MMCS of gated_anneal", ">= 0.9"),
)
def against_l1(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    arms = {
        f"{name} {dial}": settings(name, d_in=48, width=112, seed=seed, sparsity={"value": dial, "warmup": 0.2})
        for name, dials in DIALS.items()
        for dial in dials
    }
    points = {name: measure(dictionary, planted) for name, dictionary in trained(arms, planted).items()}
    at = {name: at_l0([points[f"{name} {dial}"] for dial in dials], L0) for name, dials in DIALS.items()}
    explained = {name: point.explained_variance for name, point in at.items()}
    return {
        "explained variance over ReLU": explained["p_anneal"] - explained["relu"],
        "gamma over that of ReLU": at["p_anneal"].gamma - at["relu"].gamma,
        "explained variance over Gated": explained["p_anneal"] - explained["gated"],
        "explained variance of the annealed gate over Gated": explained["gated_anneal"] - explained["gated"],
        "MMCS of p_anneal": at["p_anneal"].recovery,
        "MMCS of gated_anneal": at["gated_anneal"].recovery,
    }
