"""JumpReLU (arXiv:2407.14435), its tanh form and ProLU (Taggart 2024) against Gated and ReLU at equal L0, where the truth is known."""

from __future__ import annotations

from assay.activations.planted import Planted
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained

JUMP, PROLU = "13.2 JumpReLU", "13.5 ProLU"
L0 = 3.5
DIALS = {
    "gated": (0.4, 0.55, 0.8),
    "relu": (0.4, 0.6),
    "jumprelu": (0.015, 0.025, 0.04),
    "jumprelu_tanh": (0.006, 0.01),
    "prolu, relu": (0.08, 0.15, 0.3),
    "prolu, ste": (0.2, 0.4),
}


@trial(
    "96 directions in 48 dimensions, 3 active; width 112, 600 steps of 160 rows; read off at L0 3.5 over two or three dials an arm; "
    "bandwidth 0.7 with tanh",
    Claim(JUMP, "jumprelu", "As much is explained at equal L0 as by Gated", "explained variance over Gated", ">= 0"),
    Claim(JUMP, "jumprelu", "Magnitudes are not shrunk", "|gamma - 1|", "<= 0.03"),
    Claim(JUMP, "jumprelu", "The directions are found", "MMCS", ">= 0.9"),
    Claim(JUMP, "jumprelu", "An L0 that is aimed for is hit", "|L0 / target - 1|", "<= 0.1"),
    Claim(JUMP, "jumprelu_tanh", "A penalty that saturates does not shrink", "|gamma - 1| with tanh", "<= 0.03"),
    Claim(
        JUMP,
        "jumprelu_tanh",
        "As much is explained at equal L0 as by Gated",
        "explained variance with tanh over Gated",
        ">= 0",
    ),
    Claim(PROLU, "prolu", "More is explained at equal L0 than by ReLU", "explained variance over ReLU", ">= 0.02"),
    Claim(
        PROLU,
        "prolu",
        "So it is with the straight-through gradient",
        "explained variance over ReLU, straight-through",
        ">= 0.02",
    ),
    Claim(PROLU, "prolu", "The directions are found", "MMCS of ProLU", ">= 0.9"),
)
def at_equal_l0(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    shape = {"d_in": 48, "width": 112, "seed": seed}
    arms = {}
    for name, dials in DIALS.items():
        variant, _, gradient = name.partition(", ")
        more = {"gradient": gradient} if gradient else {"bandwidth": 0.7} if variant == "jumprelu_tanh" else {}
        for dial in dials:
            arms[f"{name} {dial}"] = settings(variant, **shape, **more, sparsity={"value": dial, "warmup": 0.05})
    arms["aimed"] = settings("jumprelu", **shape, target_l0=4.0, sparsity={"value": 1.0, "warmup": 0.05})
    points = {name: measure(dictionary, planted) for name, dictionary in trained(arms, planted).items()}
    gated, relu, jump, tanh, by_relu, by_ste = (
        at_l0([points[f"{name} {dial}"] for dial in dials], L0) for name, dials in DIALS.items()
    )
    return {
        "explained variance over Gated": jump.explained_variance - gated.explained_variance,
        "|gamma - 1|": abs(jump.gamma - 1),
        "MMCS": jump.recovery,
        "|L0 / target - 1|": abs(points["aimed"].l0 / 4.0 - 1),
        "|gamma - 1| with tanh": abs(tanh.gamma - 1),
        "explained variance with tanh over Gated": tanh.explained_variance - gated.explained_variance,
        "explained variance over ReLU": by_relu.explained_variance - relu.explained_variance,
        "explained variance over ReLU, straight-through": by_ste.explained_variance - relu.explained_variance,
        "MMCS of ProLU": by_relu.recovery,
    }
