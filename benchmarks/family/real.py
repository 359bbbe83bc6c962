"""All variants on the activations of the demo: the packaged model's residual stream after block 9.

Width 1,152 (twice the activations), 200 steps of 1,024 rows. A pilot of one seed looks for the dials that give L0 16, 24 and 36; then
these are trained on every seed, and measured inside the model on held-out documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch

from assay.analysis.evaluate import evaluate_model
from assay.dictionary import Dictionary
from assay.recipes.demo import demo
from assay.run.stages import Workspace, run_harvest
from assay.sites import locate
from assay.training import TrainConfig, train
from benchmarks.family.dials import dials_for, grid
from benchmarks.results import Row

L0 = 24.0
"""Where variants are compared."""
AROUND = (16.0, 24.0, 36.0)
WIDTH, TOKENS = 1152, 2048
KEYS = ("loss_recovered_mean", "explained_variance", "gamma", "dead")
METRICS = {
    "l0": "l0",
    "loss_recovered_mean": "loss_recovered_mean",
    "explained_variance": "explained_variance",
    "relative_reconstruction_bias": "gamma",
    "dead_fraction": "dead",
}
"""Names of the metrics, and what a row calls them."""
TRAIN = TrainConfig(steps=200, learning_rate=3e-3, dead_window=100_000, log_every=200)
PILOT_STEPS = 50
"""Of a pilot of a dial that counts latents: L0 follows it from the start."""
PILOT_COUNTS, PILOT_OCTAVES = (4, 12, 24, 48), (-4, -2, -1, 0, 1, 3)


class Real:
    """The harvested activations and the model."""

    def __init__(self, folder: Path) -> None:
        run = demo().revised({"batches.size": 1024})
        self.workspace = Workspace(run, folder)

    @cached_property
    def store(self):
        """Activations of the demo, harvested once."""
        run_harvest(self.workspace)
        return self.workspace.store

    def trained(self, wanted: Sequence[Dictionary.Config], steps: int = TRAIN.steps) -> list[Dictionary]:
        """Dictionaries of these settings, on one stream."""
        arms = {str(place): settings.build() for place, settings in enumerate(wanted)}
        for _ in train(arms, self.store, TRAIN.revised({"steps": steps})):
            pass
        return list(arms.values())

    @torch.no_grad()
    def l0(self, dictionary: Dictionary) -> float:
        """L0 on some rows."""
        return float(dictionary.encode(self.store.sample(4096)).l0().mean())

    def dials(self, variant: type[Dictionary]) -> list[float]:
        """Dials that should give the wanted L0, by a pilot of seed 0."""
        base = self.settings(variant, 0)
        tried = [
            dial for dial in grid(base, PILOT_COUNTS, PILOT_OCTAVES) if not isinstance(dial, int) or dial <= base.width
        ]
        counts = isinstance(base.dial_value(), int)
        steps = PILOT_STEPS if counts else TRAIN.steps
        trained = self.trained([base.revised({base.dial: dial}) for dial in tried], steps)
        found = {dial: self.l0(dictionary) for dial, dictionary in zip(tried, trained, strict=True)}
        return dials_for(AROUND, found, counts)

    def settings(self, variant: type[Dictionary], seed: int) -> Dictionary.Config:
        """The defaults at the shape of the comparison."""
        return variant.Config(seed=seed).resized(d_in=self.store.width, width=WIDTH)

    def points(self, variant: type[Dictionary], seeds: Sequence[int]) -> Iterator[Row]:
        """A row for each seed and dial; all of them share the clean, the zero and the mean run of the model."""
        bases, dials = [self.settings(variant, seed) for seed in seeds], self.dials(variant)
        trained = self.trained([base.revised({base.dial: dial}) for base in bases for dial in dials])
        arms = {str(place): dictionary for place, dictionary in enumerate(trained)}
        model = self.workspace.language_model.model
        found = evaluate_model(
            arms,
            model,
            locate(model, self.workspace.run.harvest.site),
            self.workspace.source("held_out"),
            mean=self.store.mean(),
            tokens=TOKENS,
            metrics=list(METRICS),
        )
        for name, evaluation in found.items():
            figures, settings = {said: evaluation.values[metric] for metric, said in METRICS.items()}, arms[name].config
            yield {"variant": variant.name, "seed": settings.seed, "dial": settings.dial_value(), **figures}
