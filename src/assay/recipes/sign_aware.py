"""SA-GSAE against a Gated dictionary twice as wide, on what an MLP writes (arXiv:2605.28149)."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

WIDTH = 1152
DIALS = (0.15, 0.25, 0.4)


def sign_aware() -> Run:
    """Three sparsities and seeds of each on the output of SmolLM2's MLP in block 9; nothing is resampled, so that death shows."""
    return Run(
        name="sign_aware",
        title="Sign-aware Gated and Gated dictionaries of SmolLM2-135M, MLP of block 9",
        harvest=HarvestSettings(site="mlp_out.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=1e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={
            "sign_aware": {"variant": "sign_aware_gated", "width": WIDTH},
            "gated": {"variant": "gated", "width": 2 * WIDTH},
        },
        sweep={"sign_aware": DIALS, "gated": DIALS},
        seeds=(0, 1, 2),
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("sign_aware", sign_aware)
