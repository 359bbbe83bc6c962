"""How the error of TopK falls with the number of latents and of those that fire (arXiv:2406.04093), and whether TopK beats an L1."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

WIDTHS, KS = (256, 512, 1024, 2048, 4096), (16, 32, 64)
BASELINE, L1 = 2048, (0.07, 0.11, 0.17, 0.25)
"""Width and weights of the ReLU dictionaries; their L0 spans the k above."""


def scaling_laws() -> Run:
    """Fifteen TopK dictionaries of five widths and three k, and four of ReLU, on one stream."""
    topk = {f"topk{width}": {"variant": "topk", "width": width} for width in WIDTHS}
    return Run(
        name="scaling_laws",
        title="TopK dictionaries of SmolLM2-135M, block 9, by width and k",
        harvest=HarvestSettings(site="resid_post.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={**topk, "relu": {"variant": "relu", "width": BASELINE}},
        sweep={**dict.fromkeys(topk, KS), "relu": L1},
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("scaling_laws", scaling_laws)
