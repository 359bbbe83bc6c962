"""AEN-SAE (arXiv:2605.05341) on its spiked model, in which all directions share one: who dies, who shrinks, whose codes jump?"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from tests.science.claims import Claim, trial
from tests.science.planted_arms import Point, at_l0, measure, settings, trained

SECTION = "12 AEN-SAE"
L0 = 4.0
SWEEP = {"elastic_net": (0.02, 0.03, 0.05), "relu": (0.1, 0.2, 0.3), "topk": (3, 4, 6)}
NUDGE = 0.01
"""Length of a perturbation, as a share of the root mean square length of a row."""


@dataclass(frozen=True)
class Steadiness(Point):
    """A point, how much of the size of rows it keeps, and how far codes move at most for a small move of the row."""

    size: float
    """E||xhat||_1 / E||x||_1."""
    lipschitz: float
    """max ||f(x) - f(x')|| / ||x - x'||, in units of the scaled activations."""


@torch.no_grad()
def steadiness(dictionary: Dictionary, planted: Planted, rows: int = 2048) -> Steadiness:
    """The dictionary on held-out rows, and on the same rows nudged in random directions."""
    x = planted.sample(rows, key=1)
    length = NUDGE * x.square().sum(1).mean().sqrt()
    nudge = torch.randn(x.shape, generator=torch.Generator().manual_seed(planted.seed))
    nudge *= length / nudge.norm(dim=1, keepdim=True)
    moved = (dictionary.encode(x + nudge).to_dense() - dictionary.encode(x).to_dense()).norm(dim=1)
    return Steadiness(
        **vars(measure(dictionary, planted)),
        size=float(dictionary(x).abs().sum() / x.abs().sum()),
        lipschitz=float(moved.max() * dictionary.scale / length),
    )


@trial(
    "Spiked model with rho 0.7: 128 directions in 32 dimensions that share one (it alone has MMCS 0.84), 4 active in each row; mean left "
    "in, width 128, 1,000 steps of 192 rows, no AuxK; read off at L0 4 over three dials an arm",
    Claim(SECTION, "elastic_net", "At most half as many latents die as with TopK", "dead over TopK's", "<= 0.5"),
    Claim(SECTION, "elastic_net", "Directions are found no worse than by TopK", "MMCS over TopK", ">= 0"),
    Claim(SECTION, "elastic_net", "Reconstruction pays for it", "explained variance below TopK", ">= 0"),
    Claim(SECTION, "elastic_net", "It shrinks no more than L1", "||xhat||_1 / ||x||_1 over that of L1", ">= 0"),
    Claim(SECTION, "elastic_net", "Codes move less than L1's", "Lipschitz ratio over L1's", "<= 1"),
    Claim(SECTION, "elastic_net", "Codes move less than TopK's", "Lipschitz ratio over TopK's", "<= 1"),
    Claim(SECTION, "relu", "L1 by itself spares as many latents", "dead of L1 over TopK's", "<= 0.5"),
    Claim(SECTION, "topk", "With the mean taken off first, TopK spares them too", "dead of centred TopK", "<= 0.05"),
)
def starvation(seed: int) -> dict[str, float]:
    planted = Planted(width=32, atoms=128, counts=(4, 4), coherence=0.7, seed=seed)
    shape = {"d_in": 32, "width": 128, "seed": seed}
    ramp = {"warmup": 0.2}
    arms = {f"topk {k}": settings("topk", **shape, k=k, auxk={"value": 0.0}) for k in SWEEP["topk"]}
    for name in ("elastic_net", "relu"):
        arms |= {f"{name} {dial}": settings(name, **shape, sparsity={"value": dial, **ramp}) for dial in SWEEP[name]}
    uncentred = [*arms]
    arms["centred"] = settings("topk", **shape, k=4, auxk={"value": 0.0})
    dictionaries = trained(arms, planted, steps=1000, batch=192, learning_rate=3e-3, uncentred=uncentred)
    points = {name: steadiness(dictionary, planted) for name, dictionary in dictionaries.items()}
    aen, l1, topk = (at_l0([points[f"{name} {dial}"] for dial in dials], L0) for name, dials in SWEEP.items())
    return {
        "dead over TopK's": aen.dead / topk.dead,
        "MMCS over TopK": aen.recovery - topk.recovery,
        "explained variance below TopK": topk.explained_variance - aen.explained_variance,
        "||xhat||_1 / ||x||_1 over that of L1": aen.size - l1.size,
        "Lipschitz ratio over L1's": aen.lipschitz / l1.lipschitz,
        "Lipschitz ratio over TopK's": aen.lipschitz / topk.lipschitz,
        "dead of L1 over TopK's": l1.dead / topk.dead,
        "dead of centred TopK": points["centred"].dead,
    }
