"""Arms trained together on planted data, and what they are worth on rows that no arm has seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from assay.activations.planted import Planted
from assay.activations.store import ActivationStore
from assay.dictionary import Dictionary
from assay.training import TrainConfig, train
from assay.units import Scale


@dataclass(frozen=True)
class Point:
    """One trained dictionary on held-out rows."""

    l0: float
    explained_variance: float
    gamma: float
    recovery: float
    """MMCS: mean over the planted directions of the best cosine with an atom."""
    dead: float
    """Share of latents that fire on none of the held-out rows."""


P = TypeVar("P", bound=Point)


def settings(variant: str, **values: Any) -> Dictionary.Config:
    """Settings of a variant by name."""
    return Dictionary.registry.named(variant).Config(**values)


def trained(
    arms: Mapping[str, Dictionary.Config],
    planted: Planted,
    *,
    steps: int = 600,
    batch: int = 160,
    rows: int = 65_536,
    learning_rate: float = 5e-3,
    uncentred: Collection[str] = (),
    **others: Any,
) -> dict[str, Dictionary]:
    """All arms, trained on one stream of planted rows in one order; the data's seed decides about both.

    Of the arms called `uncentred` the mean is left in.
    """
    dictionaries = {name: config.build() for name, config in arms.items()}
    x = planted.sample(rows, key=0)
    for name in uncentred:
        dictionaries[name].start(x, Scale(torch.zeros(planted.width), x.square().sum(1).mean().sqrt()))
    store = ActivationStore.of(x, batch_size=batch, seed=planted.seed)
    for _ in train(
        dictionaries, store, TrainConfig(steps=steps, learning_rate=learning_rate, log_every=steps, **others)
    ):
        pass
    return dictionaries


@torch.no_grad()
def measure(dictionary: Dictionary, planted: Planted, rows: int = 8192) -> Point:
    """The dictionary on rows that were not trained on."""
    x = planted.sample(rows, key=1)
    codes = dictionary.encode(x)
    estimate, x = dictionary.decode(codes, x).double(), x.double()
    return Point(
        l0=float(codes.l0().mean()),
        explained_variance=1 - float((x - estimate).square().sum() / (x - x.mean(0)).square().sum()),
        gamma=float(estimate.square().sum() / (estimate * x).sum()),
        recovery=planted.recovery(dictionary.atoms, dictionary.config.block),
        dead=float((codes.firings() == 0).float().mean()),
    )


def at_l0(points: Sequence[P], l0: float) -> P:
    """An arm's figures at L0 active latents, linear between the two nearest points. Raises ValueError where the sweep misses it."""
    points = sorted(points, key=lambda point: point.l0)
    found = [point.l0 for point in points]
    if not found[0] <= l0 <= found[-1]:
        raise ValueError(f"the sweep has L0 from {found[0]:.2f} to {found[-1]:.2f} and misses {l0}")
    figures = {key: [getattr(point, key) for point in points] for key in vars(points[0])}
    return type(points[0])(**{key: float(np.interp(l0, found, values)) for key, values in figures.items()})
