"""The adaptive elastic net against TopK without AuxK and L1 on a language model (arXiv:2605.05341): who dies, and what does it cost?"""

from __future__ import annotations

import math
from statistics import fmean

from assay.run.stages import Workspace
from tests.science.claims import Claim
from tests.science.language import Line, Reading, common, line, reading

SECTION = "12 AEN-SAE"


@reading(
    "elastic_net",
    "SmolLM2-135M, residual stream after block 9; 160,000 rows, 400 steps of 2,048; width 2,304, TopK without AuxK, nothing resampled; "
    "three sparsities an arm, means over the common L0",
    Claim(SECTION, "elastic_net", "At most half as many latents die as with TopK", "dead over TopK's", "<= 0.5"),
    Claim(SECTION, "elastic_net", "Reconstruction is near TopK's", "explained variance over TopK", ">= -0.05"),
    Claim(SECTION, "elastic_net", "The model loses no more than with L1", "loss recovered over L1", ">= 0"),
    Claim(SECTION, "elastic_net", "It shrinks no more than L1", "gamma over that of L1", ">= 0"),
    Claim(SECTION, "relu", "L1 by itself spares as many latents", "dead of L1 over TopK's", "<= 0.5"),
)
def read(workspace: Workspace) -> Reading:
    return Reading({seed: _figures(workspace, seed) for seed in workspace.run.seeds})


def _figures(workspace: Workspace, seed: int) -> dict[str, float]:
    net, relu, topk = (line(workspace, name, seed) for name in ("elastic_net", "relu", "topk"))
    return {
        "dead over TopK's": dead(net, topk),
        "explained variance over TopK": gap(net, topk, "explained_variance"),
        "loss recovered over L1": gap(net, relu, "loss_recovered_zero"),
        "gamma over that of L1": gap(net, relu, "relative_reconstruction_bias"),
        "dead of L1 over TopK's": dead(relu, topk),
    }


def gap(first: Line, second: Line, key: str) -> float:
    """Mean difference over the common L0."""
    return fmean(first.at(l0, key) - second.at(l0, key) for l0 in common([first, second]))


def dead(first: Line, second: Line) -> float:
    """Dead share of the first over that of the second, each meaned over the common L0; infinite where the second has none dead."""
    both = common([first, second])
    share, other = (fmean(each.at(l0, "dead_fraction") for l0 in both) for each in (first, second))
    return share / other if other else math.inf
