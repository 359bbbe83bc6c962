"""End-to-end dictionaries: is the model's own loss, beside or in place of the reconstruction, worth its passes through the model?"""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, Run, SourceSettings, recipes
from assay.training import TrainConfig

SHAPE = {"variant": "end_to_end", "width": 1152}


def end_to_end() -> Run:
    """KL alone, KL and reconstruction, and reconstruction alone, on the packaged model's residual stream after block 20 of 30.

    Every step runs the rest of the model twice for each arm that asks, so batches are 8 contexts of 64 tokens and steps are few.
    """
    return Run(
        name="end_to_end",
        title="End-to-end dictionaries of SmolLM2-135M, block 20",
        source=SourceSettings(context=64),
        harvest=HarvestSettings(site="resid_post.20", tokens=40_000),
        batches=BatchSettings(contexts=8),
        train=TrainConfig(steps=150, learning_rate=2e-3, sample_rows=8192, checkpoint_every=50),
        dictionaries={
            "kl": {**SHAPE, "reconstruction": {"value": 0.0}, "sparsity": {"value": 0.05}},
            "both": {**SHAPE, "sparsity": {"value": 0.15}},
            "local": {"variant": "relu", "width": 1152, "sparsity": {"value": 0.15}},
        },
        evaluate=EvaluateSettings(tokens=4096),
    )


recipes.add("end_to_end", end_to_end)
