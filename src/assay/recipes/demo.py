"""The demo: Gated against ReLU on a small language model's residual stream, in ten minutes on two cores."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, Run, recipes
from assay.training import TrainConfig


def demo() -> Run:
    """Three sparsities each of Gated and ReLU on one stream of the packaged model's residual stream after a third of its blocks."""
    return Run(
        name="demo",
        title="Gated and ReLU dictionaries of SmolLM2-135M, block 9",
        harvest=HarvestSettings(site="resid_post.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(
            steps=400,
            learning_rate=3e-3,
            dead_window=200_000,
            resample_at=(0.4,),
            resample_dip=25,
            checkpoint_every=100,
        ),
        dictionaries={
            "gated": {"variant": "gated", "width": 2304},
            "relu": {"variant": "relu", "width": 2304},
        },
        sweep={"gated": (0.12, 0.2, 0.33), "relu": (0.08, 0.12, 0.2)},
        evaluate=EvaluateSettings(tokens=8192),
    )


recipes.add("demo", demo)
