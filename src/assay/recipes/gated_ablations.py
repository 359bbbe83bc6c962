"""Gated against ReLU at equal training FLOPs, and what each part of Gated is worth (arXiv:2404.16014): six arms on one stream."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

WIDTH = 2304
GATED, RELU = (0.1, 0.17, 0.3), (0.07, 0.11, 0.18)


def gated_ablations() -> Run:
    """Three sparsities and three seeds an arm on SmolLM2's residual stream; ReLU is half as wide again, since Gated decodes twice."""
    return Run(
        name="gated_ablations",
        title="Gated, its ablations and ReLU dictionaries of SmolLM2-135M, block 9",
        harvest=HarvestSettings(site="resid_post.9", tokens=256_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(
            steps=500,
            learning_rate=3e-3,
            dead_window=200_000,
            resample_at=(0.4,),
            resample_dip=25,
            checkpoint_every=100,
        ),
        dictionaries={
            "gated": {"variant": "gated", "width": WIDTH},
            "unfrozen": {"variant": "gated", "width": WIDTH, "unfrozen": True},
            "no_rescale": {"variant": "gated", "width": WIDTH, "rescale": False},
            "untied": {"variant": "gated_untied", "width": WIDTH},
            "relu": {"variant": "relu", "width": 3 * WIDTH // 2},
            "rescale_shift": {"variant": "rescaled_relu", "width": 3 * WIDTH // 2},
        },
        sweep={
            "gated": GATED,
            "unfrozen": GATED,
            "no_rescale": GATED,
            "untied": GATED,
            "relu": RELU,
            "rescale_shift": RELU,
        },
        seeds=(0, 1, 2),
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


recipes.add("gated_ablations", gated_ablations)
