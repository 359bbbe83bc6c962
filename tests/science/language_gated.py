"""Gated against ReLU at equal training compute on a language model, and what each part of it is worth (arXiv:2404.16014)."""

from __future__ import annotations

from statistics import fmean, geometric_mean

import numpy as np

from assay.reports import matching
from assay.run.stages import Workspace
from tests.science.claims import Claim
from tests.science.language import Line, Reading, common, line, reading

SECTION, KEY = "1 Gated", "loss_recovered_zero"
PARTS = ("unfrozen", "no_rescale", "untied")


@reading(
    "gated_ablations",
    "SmolLM2-135M, residual stream after block 9; 256,000 rows, 500 steps of 2,048; width 2,304, ReLU 3,456 for equal compute; three "
    "sparsities an arm, compared where arms have common L0, loss recovered against zero ablation",
    Claim(SECTION, "gated", "Gated is a Pareto improvement over ReLU", "least gain of loss recovered at a common L0", ">= 0"),
    Claim(SECTION, "gated", "About half the latents fire at equal loss recovered", "L0 over ReLU's", "<= 0.6"),
    Claim(SECTION, "gated", "Magnitudes are not shrunk", "|gamma - 1|", "<= 0.03"),
    Claim(SECTION, "relu", "The L1 penalty shrinks magnitudes", "gamma of ReLU", "<= 0.95"),
    Claim(SECTION, "gated", "Unfreezing the gate's decoder hurts", "loss recovered over unfrozen", ">= 0"),
    Claim(SECTION, "gated", "Leaving out the rescale hurts slightly", "loss recovered over no_rescale", ">= 0"),
    Claim(SECTION, "gated_untied", "Untied encoders gain nothing", "loss recovered over untied", ">= -0.002"),
    Claim(SECTION, "rescaled_relu", "Rescale and shift undo ReLU's shrinkage", "|gamma - 1| of rescale and shift", "<= 0.03"),
    Claim(SECTION, "rescaled_relu", "But recover only a part of the gain", "share of Gated's gain over ReLU", "<= 0.5"),
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    return Reading({seed: _figures(workspace, seed) for seed in workspace.run.seeds})


def _figures(workspace: Workspace, seed: int) -> dict[str, float]:
    lines = {name: line(workspace, name, seed) for name in workspace.run.dictionaries}
    gated, relu, shifted = lines["gated"], lines["relu"], lines["rescale_shift"]
    both = common([gated, relu, shifted])
    gains = [gated.at(l0, KEY) - relu.at(l0, KEY) for l0 in common([gated, relu])]
    shares = [(shifted.at(l0, KEY) - relu.at(l0, KEY)) / (gated.at(l0, KEY) - relu.at(l0, KEY)) for l0 in both]
    return {
        "least gain of loss recovered at a common L0": min(gains),
        "L0 over ReLU's": l0_ratio(gated, relu),
        "|gamma - 1|": abs(_mean_gamma(gated) - 1),
        "gamma of ReLU": _mean_gamma(relu),
        **{
            f"loss recovered over {part}": fmean(
                gated.at(l0, KEY) - lines[part].at(l0, KEY) for l0 in common([gated, lines[part]])
            )
            for part in PARTS
        },
        "|gamma - 1| of rescale and shift": abs(_mean_gamma(shifted) - 1),
        "share of Gated's gain over ReLU": fmean(shares),
    }


def l0_ratio(first: Line, second: Line) -> float:
    """Geometric mean of L0 of the first over L0 of the second, at the values of loss recovered that both reach."""
    lines = [each.frontier(KEY) for each in (first, second)]
    bounds = matching.common([each.value_range() for each in lines])
    if bounds is None:
        raise SystemExit("no common value of loss recovered along rising lines; move the dials")
    ratios = [
        ours.mean / theirs.mean for ours, theirs in ([e.l0_for(v) for e in lines] for v in np.linspace(*bounds, 17))
    ]
    return geometric_mean(ratios)


def _mean_gamma(line: Line) -> float:
    return fmean(line.all("relative_reconstruction_bias"))
