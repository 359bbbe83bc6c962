"""How fast this machine is: short measurements from which a run's time is reckoned.

They are the rate of a float32 product, and a few contexts through the model when it is here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from assay.ops import kernels
from assay.run.stages import Workspace
from assay.sites import capture

STEP_PRODUCTS, STEP_OPERATIONS = 1.5, 8500
"""A training step in encoder products, and in operations for each number of a batch, at the rate of those products; fitted to the
demo, its dense beginning included (docs/results/demo.json), and to docs/speed.md."""
CONTEXTS = 4
"""Contexts that time a model."""


@dataclass(frozen=True)
class ModelPace:
    """How fast a model runs here."""

    to_site: float
    """Seconds a token up to the site."""
    to_end: float
    """Seconds a token to the last layer."""

    def evaluation(self, tokens: int, dictionaries: int) -> float:
        """Seconds of an evaluation, with the clean, the zero and the mean forward."""
        return tokens * (self.to_end + (dictionaries + 2) * (self.to_end - self.to_site))

    def predicting(self, dictionaries: int) -> float:
        """Seconds a token of a batch of contexts: read, predicted once, and for each dictionary predicted again and back."""
        return self.to_site + self.to_end + dictionaries * (self.to_end + 2 * (self.to_end - self.to_site))


@cache
def product_rates() -> dict[str, float]:
    """Floating-point operations a second of x W^T with encoder shapes, medians of five: PyTorch's BLAS, numpy's, and our kernels.

    Ours chooses entries while it multiplies, so its rate has the choosing in it.
    """
    x, encoder = torch.randn(2048, 576), torch.randn(4096, 576)
    ways: dict[str, Callable[[], object]] = {
        "MKL" if torch.backends.mkl.is_available() else "PyTorch": lambda: torch.mm(x, encoder.T),
        "numpy": lambda: np.matmul(x.numpy(), encoder.numpy().T),
    }
    if kernels.serves(x):
        center, high = torch.zeros(576), torch.full((4096,), 1e9)
        ways["kernels"] = lambda: kernels.outside(x, center, encoder, high, -high, 1)
    operations = 2 * 2048 * 576 * 4096
    return {name: operations / statistics.median(_seconds(way, 6)[1:]) for name, way in ways.items()}


def training_seconds(steps: int, batch: int, width: int, latents: list[int]) -> float:
    """Seconds of a training of dictionaries with so many latents each."""
    operations = STEP_PRODUCTS * 2 * batch * width * sum(latents) + STEP_OPERATIONS * batch * width * len(latents)
    return steps * operations / max(product_rates().values())


def model_pace(workspace: Workspace) -> ModelPace:
    """The pace of a run's model, timed on a few contexts."""
    model = workspace.language_model.model
    few = workspace.source("train").inputs(0, CONTEXTS)
    to_site = min(_seconds(lambda: capture(model, workspace.sites, **few.arguments))) / few.keep.numel()
    to_end = min(_seconds(lambda: model(**few.arguments))) / few.keep.numel()
    return ModelPace(to_site, max(to_site, to_end))


def clock(seconds: float) -> str:
    """Minutes and seconds, as a person reads them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"


def _seconds(run: Callable[[], object], runs: int = 3) -> list[float]:
    """How long it takes, time after time."""
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(runs):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    return times
