"""CEDAR's rotation against a TopK dictionary four times as wide at equal k, on a small language model (arXiv:2605.22679)."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

KEPT = (16, 32, 64, 128)


def rotation() -> Run:
    """Four k for each on the residual stream after block 9, which is 576 wide."""
    return Run(
        name="rotation",
        title="Rotations and TopK dictionaries of SmolLM2-135M, block 9",
        harvest=HarvestSettings(site="resid_post.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=100_000, checkpoint_every=100),
        dictionaries={"rotation": {"variant": "rotation"}, "topk": {"variant": "topk", "width": 2304}},
        sweep={"rotation": KEPT, "topk": KEPT},
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("rotation", rotation)
