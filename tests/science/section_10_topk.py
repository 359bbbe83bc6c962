"""TopK dictionaries (arXiv:2406.04093) where the truth is known: against an L1, dead latents, Multi-TopK, and laws of scale."""

from __future__ import annotations

from collections.abc import Mapping

from assay.activations.planted import Planted
from assay.analysis.scaling_law import extrapolation_error, fit_joint_law, fit_power_law
from assay.dictionary import Dictionary
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained

SECTION = "10 TopK"
L0S = (4.0, 5.0)
K = 3
WIDTHS, KS = (16, 32, 64, 128, 256), (2, 4, 8)


@trial(
    "96 directions in 48 dimensions, 3 active; width 112, 600 steps of 160 rows; TopK with k 3, 4, 6 and ReLU with four L1 weights, read "
    "off at L0 4 and 5; Multi-TopK with k 3, used at k 3 and 12",
    Claim(SECTION, "topk", "More is explained than under an L1 at equal L0", "least gain over ReLU", ">= 0.02"),
    Claim(SECTION, "topk", "Nothing shrinks", "|gamma - 1|", "<= 0.03"),
    Claim(SECTION, "topk", "The directions are found", "MMCS", ">= 0.9"),
    Claim(
        SECTION,
        "multi_topk",
        "At 4 k it is better than a TopK of k used so",
        "explained variance over TopK at 4 k",
        ">= 0.02",
    ),
    Claim(SECTION, "multi_topk", "At k it is as good within 3 %", "NMSE over that of TopK at k", "<= 1.03"),
)
def against_l1(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    shape = {"d_in": 48, "width": 112, "seed": seed}
    arms = {f"topk {k}": settings("topk", **shape, k=k) for k in (3, 4, 6)}
    arms |= {
        f"relu {dial}": settings("relu", **shape, sparsity={"value": dial, "warmup": 0.2})
        for dial in (0.15, 0.25, 0.4, 0.6)
    }
    arms["multi"] = settings("multi_topk", **shape, k=K)
    dictionaries = trained(arms, planted, dead_window=5000)
    points = {name: measure(dictionary, planted) for name, dictionary in dictionaries.items()}
    topk, relu = ([point for name, point in points.items() if name.startswith(arm)] for arm in ("topk", "relu"))
    gains = [at_l0(topk, l0).explained_variance - at_l0(relu, l0).explained_variance for l0 in L0S]
    wide = [_used_at(dictionaries[name], 4 * K, planted) for name in ("multi", f"topk {K}")]
    return {
        "least gain over ReLU": min(gains),
        "|gamma - 1|": abs(points[f"topk {K}"].gamma - 1),
        "MMCS": points[f"topk {K}"].recovery,
        "explained variance over TopK at 4 k": wide[0] - wide[1],
        "NMSE over that of TopK at k": (1 - points["multi"].explained_variance)
        / (1 - points[f"topk {K}"].explained_variance),
    }


def _used_at(dictionary: Dictionary, k: int, planted: Planted) -> float:
    """Explained variance with another k than it was trained with."""
    other = dictionary.config.revised({"k": k}).build()
    other.load_state_dict(dictionary.state_dict())
    return measure(other, planted).explained_variance


@trial(
    "512 directions in 32 dimensions, 4 active, frequencies as 1 / i^0.5; width 256, k 4, 1,000 steps of 160 rows; dead: silent on 32,768 "
    "fresh rows; AuxK of weight 1/32 with 16 latents after 5,000 silent rows",
    Claim(SECTION, "topk", "With AuxK and a transposed start few are dead", "dead with both", "<= 0.05"),
    Claim(SECTION, "topk", "AuxK alone helps", "dead with AuxK alone", "<= 0.05"),
    Claim(SECTION, "topk", "The transposed start alone helps", "dead with a transposed start alone", "<= 0.05"),
    Claim(SECTION, "topk", "Without either many are dead", "dead with neither", ">= 0.1"),
    Claim(
        SECTION, "topk", "Three times as many as with both", "dead with neither, less 3 times dead with both", ">= 0"
    ),
)
def dead_latents(seed: int) -> dict[str, float]:
    planted = Planted(width=32, atoms=512, active=4.0, zipf=0.5, seed=seed)
    shape = {"d_in": 32, "width": 256, "k": 4, "k_aux": 16, "seed": seed}
    names = {
        (True, True): "dead with both",
        (True, False): "dead with AuxK alone",
        (False, True): "dead with a transposed start alone",
        (False, False): "dead with neither",
    }
    arms = {
        name: settings("topk", **shape, transposed=transposed, auxk={"value": 1 / 32 if auxk else 0.0})
        for (auxk, transposed), name in names.items()
    }
    dictionaries = trained(arms, planted, steps=1000, learning_rate=3e-3, dead_window=5000)
    dead = {name: measure(dictionary, planted, rows=32_768).dead for name, dictionary in dictionaries.items()}
    beyond = dead["dead with neither"] - 3 * dead["dead with both"]
    return {**dead, "dead with neither, less 3 times dead with both": beyond}


@trial(
    "1,024 directions in 48 dimensions, 4 active, frequencies as 1 / i; TopK of widths 16 to 256 with k 2, 4, 8; 600 steps of 160 rows; "
    "the power law at k 4, without the widest for the extrapolation",
    Claim(SECTION, "topk", "The error is a power law of the width", "R2 in logarithms", ">= 0.95"),
    Claim(SECTION, "topk", "It falls with the width", "exponent", "<= -0.05"),
    Claim(SECTION, "topk", "Narrower ones foretell the widest", "relative error at the widest", "<= 0.10"),
    Claim(SECTION, "topk", "The joint law of width and k fits", "R2 of L(n, k) in logarithms", ">= 0.95"),
    Claim(SECTION, "topk", "Its coefficients are finite", "largest coefficient in size", "<= 100"),
)
def scaling(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=1024, active=4.0, zipf=1.0, seed=seed)
    arms: Mapping[str, Dictionary.Config] = {
        f"{width} {k}": settings("topk", d_in=48, width=width, k=k, k_aux=16, seed=seed) for width in WIDTHS for k in KS
    }
    dictionaries = trained(arms, planted, learning_rate=3e-3, dead_window=5000)
    errors = {name: 1 - measure(dictionary, planted).explained_variance for name, dictionary in dictionaries.items()}
    middle = [errors[f"{width} 4"] for width in WIDTHS]
    law = fit_power_law(WIDTHS, middle)
    widths, ks = zip(*((width, k) for width in WIDTHS for k in KS), strict=True)
    joint = fit_joint_law(widths, ks, list(errors.values()))
    return {
        "R2 in logarithms": law.r2,
        "exponent": law.slope,
        "relative error at the widest": extrapolation_error(WIDTHS, middle),
        "R2 of L(n, k) in logarithms": joint.r2,
        "largest coefficient in size": max(abs(value) for name, value in vars(joint).items() if name != "r2"),
    }
