"""Sparsemax against TopK on a small language model's residual stream: what is lost at the same mean number of latents?"""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, Run, recipes
from assay.training import TrainConfig


def sparsemax() -> Run:
    """Three scales each of both modes, and TopK without AuxK, at width 4 D after a third of the packaged model's blocks."""
    return Run(
        name="sparsemax",
        title="Sparsemax and TopK dictionaries of SmolLM2-135M, block 9",
        harvest=HarvestSettings(site="resid_post.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={
            "mask": {"variant": "sparsemax", "width": 2304, "mode": "mask"},
            "simplex": {"variant": "sparsemax", "width": 2304, "mode": "simplex"},
            "topk": {"variant": "topk", "width": 2304, "auxk": {"value": 0.0}},
        },
        sweep={"mask": (6, 12, 24), "simplex": (12, 24, 48), "topk": (4, 8, 16, 32, 64)},
        evaluate=EvaluateSettings(tokens=8192),
    )


recipes.add("sparsemax", sparsemax)
