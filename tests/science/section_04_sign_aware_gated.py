"""SA-GSAE (arXiv:2605.28149, our reconstruction) on axes with two poles, and what its second gate costs where there are none."""

from __future__ import annotations

import torch

from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained

SECTION = "4 SA-GSAE"
L0 = 3.0
ARMS = {
    "SA": ("sign_aware_gated", 56, (0.45, 0.6, 0.8)),
    "Gated, twice as wide": ("gated", 112, (0.45, 0.6, 0.8)),
    "Gated, as wide": ("gated", 56, (0.35, 0.5, 0.65)),
}
MATCH, POLE = 0.9, 0.01
"""Cosine from which a latent stands for an axis; share of a latent's firings that make a sign one of its two."""


def swept(arms: dict[str, tuple[str, int, tuple[float, ...]]], seed: int) -> dict[str, Dictionary.Config]:
    """Settings of every arm and dial."""
    return {
        f"{name} {dial}": settings(variant, d_in=48, width=width, seed=seed, sparsity={"value": dial, "warmup": 0.2})
        for name, (variant, width, dials) in arms.items()
        for dial in dials
    }


@torch.no_grad()
def bipolar_share(dictionary: Dictionary, planted: Planted) -> float:
    """Share of the living latents that match an axis which fire with both signs."""
    codes = dictionary.encode(planted.sample(8192, key=1)).to_dense()
    cosines = (dictionary.atoms @ planted.directions.T).abs().amax(1)
    matched = codes.ne(0).any(0) & (cosines >= MATCH)
    positive = (codes > 0).sum(0) / codes.ne(0).sum(0).clamp_min(1)
    both = (positive >= POLE) & (positive <= 1 - POLE)
    return float(both[matched].float().mean())


@trial(
    "48 axes of random sign in 48 dimensions, 3 active; width 56 (Gated also 112), 600 steps of 160 rows; read off at L0 3.0",
    Claim(
        SECTION,
        "sign_aware_gated",
        "Half the width does what Gated does",
        "explained variance over Gated(112)",
        ">= -0.01",
    ),
    Claim(
        SECTION,
        "sign_aware_gated",
        "At equal width Gated lacks latents for the poles",
        "explained variance over Gated(56)",
        ">= 0.1",
    ),
    Claim(SECTION, "sign_aware_gated", "Latents stand for both poles of an axis", "share with both signs", ">= 0.6"),
    Claim(
        SECTION,
        "sign_aware_gated",
        "Without its auxiliary term the gate collapses",
        "explained variance without the auxiliary term",
        "<= 0.3",
    ),
    Claim(SECTION, "sign_aware_gated", "Magnitudes are not shrunk", "|gamma - 1|", "<= 0.03"),
)
def bipolar_axes(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=48, active=3.0, signed=True, seed=seed)
    arms = swept(ARMS, seed)
    arms["alone"] = arms["SA 0.6"].revised({"gate_reconstruction.value": 0.0})
    dictionaries = trained(arms, planted, dead_window=20_000)
    points = {name: measure(dictionary, planted) for name, dictionary in dictionaries.items()}
    at = {name: at_l0([points[f"{name} {dial}"] for dial in dials], L0) for name, (_, _, dials) in ARMS.items()}
    explained = {name: point.explained_variance for name, point in at.items()}
    return {
        "explained variance over Gated(112)": explained["SA"] - explained["Gated, twice as wide"],
        "explained variance over Gated(56)": explained["SA"] - explained["Gated, as wide"],
        "share with both signs": bipolar_share(dictionaries["SA 0.6"], planted),
        "explained variance without the auxiliary term": points["alone"].explained_variance,
        "|gamma - 1|": abs(at["SA"].gamma - 1),
    }


@trial(
    "96 directions with one pole in 48 dimensions, 3 active; width 112, 600 steps of 160 rows; read off at L0 3.0 "
    "(a cost that is reported; parity is not asked for)",
    Claim(
        SECTION,
        "sign_aware_gated",
        "Where nothing has two poles, the second gate costs",
        "explained variance of Gated over SA",
        ">= 0",
    ),
)
def one_pole(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    arms = {"SA": ("sign_aware_gated", 112, (0.6, 0.85, 1.1)), "Gated": ("gated", 112, (0.45, 0.65, 0.85))}
    dictionaries = trained(swept(arms, seed), planted, dead_window=20_000)
    points = {name: measure(dictionary, planted) for name, dictionary in dictionaries.items()}
    gated, signed = (at_l0([points[f"{name} {dial}"] for dial in arms[name][2]], L0) for name in ("Gated", "SA"))
    return {"explained variance of Gated over SA": gated.explained_variance - signed.explained_variance}
