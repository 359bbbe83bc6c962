"""Does the decomposability penalty (arXiv:2604.03436) make latents that fire more apart from one another?"""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

PENALTIES = {"solo": 0.0, "tenth": 0.1, "third": 0.3, "whole": 1.0}
"""Weight of the penalty by name of the dictionary; 0.3 is the paper's best."""


def meta() -> Run:
    """Four penalties, three seeds, 200,000 tokens; how latents fire together and how well meta composes them."""
    return Run(
        name="meta",
        title="MetaSAE dictionaries of SmolLM2-135M, block 9, by penalty",
        harvest=HarvestSettings(site="resid_post.9", tokens=200_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={
            name: {"variant": "meta", "width": 2304, "decomposability": {"value": penalty}}
            for name, penalty in PENALTIES.items()
        },
        sweep=dict.fromkeys(PENALTIES, (32,)),
        seeds=(0, 1, 2),
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("meta", meta)
