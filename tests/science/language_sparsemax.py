"""Sparsemax against TopK at an equal mean number of latents on a language model (arXiv:2604.14925)."""

from __future__ import annotations

from assay.run.stages import Workspace
from tests.science.claims import Claim
from tests.science.language import Reading, line, reading
from tests.science.language_elastic_net import gap

SECTION = "8 Sparsemax"


@reading(
    "sparsemax",
    "SmolLM2-135M, residual stream after block 9; 160,000 rows, 400 steps of 2,048; width 2,304, TopK without AuxK; three scales a mode, "
    "means over the common L0",
    Claim(SECTION, "sparsemax", "Explains no less than TopK, mask mode", "explained variance over TopK, mask", ">= 0"),
    Claim(SECTION, "sparsemax", "And simplex mode", "explained variance over TopK, simplex", ">= 0"),
    Claim(SECTION, "sparsemax", "The model loses no more than with TopK", "loss recovered over TopK, mask", ">= 0"),
)
def read(workspace: Workspace) -> Reading:
    figures = {}
    for seed in workspace.run.seeds:
        mask, simplex, topk = (line(workspace, name, seed) for name in ("mask", "simplex", "topk"))
        figures[seed] = {
            "explained variance over TopK, mask": gap(mask, topk, "explained_variance"),
            "explained variance over TopK, simplex": gap(simplex, topk, "explained_variance"),
            "loss recovered over TopK, mask": gap(mask, topk, "loss_recovered_zero"),
        }
    return Reading(figures)
