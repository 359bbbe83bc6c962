"""Gated (arXiv:2404.16014) where the truth is known: at equal L0 nothing shrinks, more is explained, and each part has its share."""

from __future__ import annotations

from assay.activations.planted import Planted
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained

SECTION = "1 Gated"
L0 = 3.5
DIALS = {"gated": (0.4, 0.55, 0.8), "relu": (0.25, 0.4, 0.6)}
ABLATIONS = {
    "Gated": ("gated", {}, DIALS["gated"]),
    "unfrozen": ("gated", {"unfrozen": True}, DIALS["gated"]),
    "no rescale": ("gated", {"rescale": False}, DIALS["gated"]),
    "untied": ("gated_untied", {}, DIALS["gated"]),
    "ReLU": ("relu", {}, DIALS["relu"]),
    "rescale and shift": ("rescaled_relu", {}, (0.4, 0.6, 0.9)),
}


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


@trial(
    "The same data, shape and steps; read off at L0 3.5 over three dials an arm; rescale and shift learn in the last quarter",
    Claim(SECTION, "gated", "Unfreezing the gate's decoder hurts", "explained variance over unfrozen", ">= 0.005"),
    Claim(SECTION, "gated", "Leaving out the rescale hurts slightly", "explained variance over no rescale", ">= 0"),
    Claim(
        SECTION, "gated_untied", "Untied encoders gain nothing", "explained variance of untied over tied", "<= 0.005"
    ),
    Claim(
        SECTION,
        "rescaled_relu",
        "Rescale and shift undo ReLU's shrinkage",
        "|gamma - 1| of rescale and shift",
        "<= 0.03",
    ),
    Claim(
        SECTION,
        "rescaled_relu",
        "But recover only a small part of the gain",
        "share of Gated's gain over ReLU",
        "<= 0.5",
    ),
)
def ablations(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    arms = {
        f"{name} {dial}": settings(
            variant, d_in=48, width=112, seed=seed, sparsity={"value": dial, "warmup": 0.2}, **changes
        )
        for name, (variant, changes, dials) in ABLATIONS.items()
        for dial in dials
    }
    points = {name: measure(dictionary, planted) for name, dictionary in trained(arms, planted).items()}
    at = {name: at_l0([points[f"{name} {dial}"] for dial in dials], L0) for name, (_, _, dials) in ABLATIONS.items()}
    explained = {name: point.explained_variance for name, point in at.items()}
    return {
        "explained variance over unfrozen": explained["Gated"] - explained["unfrozen"],
        "explained variance over no rescale": explained["Gated"] - explained["no rescale"],
        "explained variance of untied over tied": explained["untied"] - explained["Gated"],
        "|gamma - 1| of rescale and shift": abs(at["rescale and shift"].gamma - 1),
        "share of Gated's gain over ReLU": (explained["rescale and shift"] - explained["ReLU"])
        / (explained["Gated"] - explained["ReLU"]),
    }
