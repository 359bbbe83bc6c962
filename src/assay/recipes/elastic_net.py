"""The adaptive elastic net against TopK without AuxK and L1 on a small language model: which latents die, and what does it cost?"""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig


def elastic_net() -> Run:
    """Three sparsities and seeds each on SmolLM2's residual stream after block 9; nothing is resampled, so that death shows."""
    return Run(
        name="elastic_net",
        title="Adaptive elastic net, L1 and TopK dictionaries of SmolLM2-135M, block 9",
        harvest=HarvestSettings(site="resid_post.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=1e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={
            "elastic_net": {"variant": "elastic_net", "width": 2304, "beta": 0.95},
            "relu": {"variant": "relu", "width": 2304},
            "topk": {"variant": "topk", "width": 2304, "auxk": {"value": 0.0}},
        },
        sweep={"elastic_net": (0.03, 0.06, 0.12), "relu": (0.1, 0.15, 0.25), "topk": (10, 30, 90)},
        seeds=(0, 1, 2),
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("elastic_net", elastic_net)
