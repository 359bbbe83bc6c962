"""SASA against TopK and BatchTopK at equal L0 on a small language model's residual stream (arXiv:2606.06333)."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

WIDTH, RANK = 2304, 6
GROUPS = (5, 10, 20)


def subspace() -> Run:
    """L0 of 30, 60 and 120 for each, on the residual stream after block 9; nothing is resampled, since AuxK is there for all three."""
    singles = tuple(RANK * groups for groups in GROUPS)
    return Run(
        name="subspace",
        title="Subspace groups, TopK and BatchTopK dictionaries of SmolLM2-135M, block 9",
        harvest=HarvestSettings(site="resid_post.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=100_000, checkpoint_every=100),
        dictionaries={
            "subspace": {"variant": "subspace", "width": WIDTH, "rank": RANK},
            "topk": {"variant": "topk", "width": WIDTH},
            "batch_topk": {"variant": "batch_topk", "width": WIDTH},
        },
        sweep={"subspace": GROUPS, "topk": singles, "batch_topk": singles},
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("subspace", subspace)
