"""Gated against ReLU (arXiv:2404.16014) where the truth is known: at equal L0 nothing shrinks, and more is explained."""

from __future__ import annotations

from assay.activations.planted import Planted
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained

SECTION = "1 Gated"
L0 = 3.5
DIALS = {"gated": (0.4, 0.55, 0.8), "relu": (0.25, 0.4, 0.6)}


@trial(
    "96 directions in 48 dimensions, 3 active; width 112, 600 steps of 160 rows; read off at L0 3.5 over three dials an arm",
    Claim(SECTION, "gated", "Magnitudes are not shrunk", "|gamma - 1|", "<= 0.03"),
    Claim(SECTION, "relu", "The L1 penalty shrinks magnitudes", "gamma of ReLU", "<= 0.90"),
    Claim(SECTION, "gated", "More is explained at equal L0 than by ReLU", "explained variance over ReLU", ">= 0.05"),
    Claim(SECTION, "gated", "The directions are found", "MMCS", ">= 0.9"),
    Claim(
        SECTION,
        "gated",
        "Without its auxiliary term the gate collapses",
        "explained variance without the auxiliary term",
        "<= 0.3",
    ),
)
def against_relu(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    shape = {"d_in": 48, "width": 112, "seed": seed}
    arms = {
        f"{name} {dial}": settings(name, **shape, sparsity={"value": dial, "warmup": 0.2})
        for name, dials in DIALS.items()
        for dial in dials
    }
    arms["alone"] = settings(
        "gated", **shape, sparsity={"value": 0.55, "warmup": 0.2}, gate_reconstruction={"value": 0.0}
    )
    points = {name: measure(dictionary, planted) for name, dictionary in trained(arms, planted).items()}
    gated, relu = (at_l0([points[f"{name} {dial}"] for dial in DIALS[name]], L0) for name in DIALS)
    return {
        "|gamma - 1|": abs(gated.gamma - 1),
        "gamma of ReLU": relu.gamma,
        "explained variance over ReLU": gated.explained_variance - relu.explained_variance,
        "MMCS": gated.recovery,
        "explained variance without the auxiliary term": points["alone"].explained_variance,
    }
