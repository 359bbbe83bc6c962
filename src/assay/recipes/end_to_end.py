"""End-to-end dictionaries: is the model's own loss, in place of the reconstruction, worth its passes through the model?"""

from __future__ import annotations

from assay.run.settings import (
    BatchSettings,
    EvaluateSettings,
    HarvestSettings,
    LatentSettings,
    Run,
    SourceSettings,
    recipes,
)
from assay.training import TrainConfig

WIDTH = 1152


def end_to_end() -> Run:
    """KL alone against reconstruction alone, three sparsities and seeds of each, on SmolLM2's residual stream after block 25 of 30.

    Every step runs the rest of the model twice for each arm that asks, so batches are 8 contexts of 64 tokens and steps are few.
    """
    return Run(
        name="end_to_end",
        title="End-to-end and local dictionaries of SmolLM2-135M, block 25",
        source=SourceSettings(context=64),
        harvest=HarvestSettings(site="resid_post.25", tokens=40_000),
        batches=BatchSettings(contexts=8),
        train=TrainConfig(steps=150, learning_rate=2e-3, sample_rows=8192, checkpoint_every=25),
        dictionaries={
            "kl": {"variant": "end_to_end", "width": WIDTH, "reconstruction": {"value": 0.0}},
            "local": {"variant": "relu", "width": WIDTH},
        },
        sweep={"kl": (0.25, 0.5, 1.0), "local": (0.07, 0.12, 0.2)},
        seeds=(0, 1, 2),
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("end_to_end", end_to_end)
