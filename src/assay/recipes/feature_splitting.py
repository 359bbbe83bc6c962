"""Three widths on the same activations, each four times the one before: what splits, and which tokens get a latent of their own.

For `assay train`: each has a seed of its own, since the first atoms of equal seeds are the same, and a sweep would give all one.
"""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

WIDTHS = (576, 2304, 9216)


def feature_splitting() -> Run:
    """TopK dictionaries of 1, 4 and 16 times the activations' width."""
    return Run(
        name="feature_splitting",
        title="TopK dictionaries of SmolLM2-135M, block 9, of three widths",
        harvest=HarvestSettings(site="resid_post.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=500, learning_rate=3e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={
            f"topk{width}": {"variant": "topk", "width": width, "k": 32, "seed": seed}
            for seed, width in enumerate(WIDTHS)
        },
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("feature_splitting", feature_splitting)
