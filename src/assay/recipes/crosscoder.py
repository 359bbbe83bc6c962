"""Crosscoders of two layers: one code for the residual stream after block 9 and after block 15, by a penalty and by a count."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

WIDTH = 2304


def crosscoder() -> Run:
    """L1 and BatchTopK crosscoders of the packaged model, at three sparsities each; their rows join both sites."""
    return Run(
        name="crosscoder",
        title="Crosscoders of SmolLM2-135M after blocks 9 and 15",
        harvest=HarvestSettings(site="resid_post.9 + resid_post.15", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={
            "l1": {"variant": "crosscoder", "width": WIDTH},
            "batch_topk": {"variant": "batch_topk_crosscoder", "width": WIDTH},
        },
        sweep={"l1": (0.1, 0.15, 0.25), "batch_topk": (16, 32, 64)},
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(arm="batch_topk-32"),
    )


recipes.add("crosscoder", crosscoder)
