"""Transcoders (arXiv:2406.11944) with and without a linear path (arXiv:2501.18823), of a map whose parts are planted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from assay.activations.planted import Planted
from assay.activations.store import ActivationStore
from assay.dictionary import Dictionary
from assay.training import TrainConfig, train
from tests.science.claims import Claim, trial
from tests.science.planted_arms import settings

SECTION = "13.7 Transcoders"
COUNTS = (2, 3, 4)


@dataclass(frozen=True)
class PlantedMap:
    """y = sum_i relu(f_i - 0.7) c_i + R x / 2: what is written where a direction is strongly present, and a linear map beside it."""

    planted: Planted

    @cached_property
    def written(self) -> tuple[Tensor, Tensor]:
        """Unit directions c_i, and R, a random rotation."""
        generator = torch.Generator().manual_seed(self.planted.seed + 1000)
        normal = torch.randn(self.planted.atoms, self.planted.width, generator=generator)
        turn = torch.linalg.qr(torch.randn(self.planted.width, self.planted.width, generator=generator)).Q
        return normal / normal.norm(dim=1, keepdim=True), turn

    def sample(self, rows: int, key: int) -> Tensor:
        """x and y, side by side."""
        directions, turn = self.written
        x, f = self.planted.sample(rows, key), self.planted.codes(rows, key)
        return torch.cat([x, (f - 0.7).relu() @ directions + x @ turn.T / 2], 1)


@torch.no_grad()
def explained(dictionary: Dictionary, rows: Tensor) -> float:
    x, y = dictionary.pair(rows)
    return 1 - float((y - dictionary(x)).double().square().sum() / (y - y.mean(0)).double().square().sum())


@trial(
    "96 directions in 48 dimensions, 3 active; y is a threshold of each strength along a direction of its own, plus half a rotation of x; "
    "width 112, k 2, 3 and 4, 600 steps of 160 rows",
    Claim(
        SECTION,
        "skip_transcoder",
        "Fidelity is at least that of a transcoder at equal k, for every k",
        "least gain",
        ">= 0",
    ),
    Claim(
        SECTION, "skip_transcoder", "The gain is large where the map is partly linear, at k 3", "gain at k 3", ">= 0.05"
    ),
    Claim(SECTION, "transcoder", "Most of the map is explained without it, at k 4", "explained variance", ">= 0.5"),
)
def linear_path(seed: int) -> dict[str, float]:
    data = PlantedMap(Planted(width=48, atoms=96, active=3.0, seed=seed))
    shape = {"d_in": 48, "target_width": 48, "width": 112, "seed": seed}
    arms = {
        f"{name} {k}": settings(name, **shape, k=k).build()
        for name in ("transcoder", "skip_transcoder")
        for k in COUNTS
    }
    store = ActivationStore.of(data.sample(65_536, key=0), batch_size=160, seed=seed)
    for _ in train(arms, store, TrainConfig(steps=600, learning_rate=5e-3, log_every=600)):
        pass
    found = {name: explained(each, data.sample(8192, key=1)) for name, each in arms.items()}
    gains = {k: found[f"skip_transcoder {k}"] - found[f"transcoder {k}"] for k in COUNTS}
    return {"least gain": min(gains.values()), "gain at k 3": gains[3], "explained variance": found["transcoder 4"]}
