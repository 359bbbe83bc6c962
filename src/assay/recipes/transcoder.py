"""Transcoders of an MLP with and without a linear path: at equal k, what explains more of its output, and what costs the model less."""

from __future__ import annotations

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

WIDTH = 2304


def transcoder() -> Run:
    """Transcoder and skip transcoder of the packaged model's MLP in block 9, from its input to its output, at three k."""
    return Run(
        name="transcoder",
        title="Transcoders of the MLP in block 9 of SmolLM2-135M",
        harvest=HarvestSettings(site="mlp_in.9 + mlp_out.9", tokens=160_000),
        batches=BatchSettings(size=2048),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=200_000, checkpoint_every=100),
        dictionaries={
            "transcoder": {"variant": "transcoder", "width": WIDTH},
            "skip": {"variant": "skip_transcoder", "width": WIDTH},
        },
        sweep={"transcoder": (16, 32, 64), "skip": (16, 32, 64)},
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(arm="skip-32"),
    )


recipes.add("transcoder", transcoder)
