"""A dictionary that learns from the model's predictions alone, against one that learns from the activations (arXiv:2405.12241)."""

from __future__ import annotations

import math

from assay.run.stages import Workspace
from tests.science.claims import Claim
from tests.science.language import Line, Reading, line, reading
from tests.science.language_elastic_net import gap

SECTION, KEY = "13.9 End-to-end", "loss_recovered_zero"


@reading(
    "end_to_end",
    "SmolLM2-135M, residual stream after block 25; 150 steps of 8 contexts of 64 tokens, run live; width 1,152; KL alone against "
    "reconstruction alone (ReLU), L1 in both, at equal steps, not equal compute; three sparsities an arm, compared over the common L0",
    Claim(SECTION, "end_to_end", "The model loses less at equal L0", "loss recovered over local", ">= 0"),
    Claim(SECTION, "end_to_end", "Fewer than half of the latents are enough for what local recovers", "L0 over that of local", "<= 0.5"),
    Claim(SECTION, "end_to_end", "Reconstructions are further from the activations", "explained variance over local", "<= 0"),
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    return Reading({seed: _figures(workspace, seed) for seed in workspace.run.seeds})


def _figures(workspace: Workspace, seed: int) -> dict[str, float]:
    end_to_end, local = (line(workspace, name, seed) for name in ("kl", "local"))
    return {
        "loss recovered over local": gap(end_to_end, local, KEY),
        "L0 over that of local": enough(end_to_end, local),
        "explained variance over local": gap(end_to_end, local, "explained_variance"),
    }


def enough(first: Line, second: Line) -> float:
    """L0 of the sparsest dictionary of the first that recovers at least as much as the best of the second, over that one's L0."""
    best, at = max(zip(second.all(KEY), second.all("l0"), strict=True))
    reached = [l0 for l0, value in zip(first.all("l0"), first.all(KEY), strict=True) if value >= best]
    return min(reached, default=math.inf) / at
