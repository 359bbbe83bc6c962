"""Crosscoders of two models whose common and own concepts are planted: which latents look exclusive, and which of them are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from assay.activations.planted import Planted
from assay.activations.store import ActivationStore
from assay.analysis.model_diff import latent_scaling
from assay.dictionary import Dictionary
from assay.training import TrainConfig, train
from tests.science.claims import Claim, trial
from tests.science.planted_arms import settings

SECTION = "13.8 Crosscoders"
COMMON, OWN = 48, 12
"""Concepts of both models, and of each alone."""


@dataclass(frozen=True)
class PlantedPair:
    """Rows of two models side by side: concept i writes s_i f_i a_i in one and t_i f_i a_i in the other.

    The direction is the same in both, as in a model and its fine-tuning: latent scaling holds one's atoms against the other's rows.
    A concept of both is weaker in one of them, by a factor drawn from 0.1 to 1; of a concept of one alone the other factor is zero.
    """

    seed: int

    @cached_property
    def planted(self) -> Planted:
        return Planted(width=36, atoms=COMMON + 2 * OWN, active=3.0, seed=self.seed)

    @cached_property
    def strengths(self) -> Tensor:
        """s and t [2 n]."""
        generator = torch.Generator().manual_seed(self.seed)
        strengths = torch.ones(2, COMMON + 2 * OWN)
        weaker = torch.randint(2, (COMMON,), generator=generator)
        strengths[weaker, torch.arange(COMMON)] = 0.1 + 0.9 * torch.rand(COMMON, generator=generator)
        strengths[1, COMMON : COMMON + OWN] = 0
        strengths[0, COMMON + OWN :] = 0
        return strengths

    def sample(self, rows: int, key: int) -> Tensor:
        f = self.planted.codes(rows, key)
        return torch.cat([(f * strength) @ self.planted.directions for strength in self.strengths], 1)


def judged(dictionary: Dictionary, data: PlantedPair) -> dict[str, float]:
    """Latents that look exclusive: how many, the share of them whose concept is in both, and how often latent scaling is right of them.

    The concept of a latent is the one whose direction in the latent's own part is nearest.
    """
    rows = data.sample(16_384, key=1)
    found = latent_scaling(dictionary, rows.split(2048))
    looks = found.exclusive() & ~found.error.isnan()
    parts = dictionary.atoms.detach().unflatten(1, (2, -1))
    own = parts[torch.arange(len(parts)), found.own()]
    concept = (own @ data.planted.directions.T).argmax(1)
    false = concept < COMMON
    codes = dictionary.encode(rows)
    return {
        "looks": int(looks.sum()),
        "false": int((looks & false).sum()),
        "right": float((found.false_exclusive() == false)[looks].float().mean()) if looks.any() else float("nan"),
        "l0": float(codes.l0().mean()),
    }


@trial(
    "48 concepts in both models, weaker in one by 0.1 to 1, and 12 in each alone, 3 active, 36 dimensions each; width 96, 1,500 steps "
    "of 160 rows; L1 weights 0.3 and 0.6, BatchTopK with k 3; a latent looks exclusive with 0.9 of its norm in one model",
    Claim(
        SECTION,
        "crosscoder",
        "The L1 penalty makes latents of common concepts look exclusive",
        "false exclusive latents, L1",
        ">= 5",
    ),
    Claim(
        SECTION,
        "crosscoder",
        "Latent scaling tells them from the others",
        "right about those that look exclusive, L1",
        ">= 0.9",
    ),
    Claim(
        SECTION,
        "batch_topk_crosscoder",
        "A count in place of the penalty makes fewer",
        "false exclusive over L1's",
        "<= 0.5",
    ),
    Claim(
        SECTION,
        "batch_topk_crosscoder",
        "It finds the truly exclusive ones",
        "true exclusive latents, BatchTopK",
        ">= 20",
    ),
)
def exclusive_latents(seed: int) -> dict[str, float]:
    data, shape = PlantedPair(seed), {"d_in": 72, "sites": 2, "width": 96, "seed": seed}
    arms = {
        "weak": settings("crosscoder", **shape, sparsity={"value": 0.3, "warmup": 0.2}).build(),
        "strong": settings("crosscoder", **shape, sparsity={"value": 0.6, "warmup": 0.2}).build(),
        "batch": settings("batch_topk_crosscoder", **shape, k=3).build(),
    }
    store = ActivationStore.of(data.sample(65_536, key=0), batch_size=160, seed=seed)
    for _ in train(arms, store, TrainConfig(steps=1500, learning_rate=5e-3, log_every=1500, dead_window=20_000)):
        pass
    found = {name: judged(each, data) for name, each in arms.items()}
    nearest = min(("weak", "strong"), key=lambda name: abs(found[name]["l0"] - found["batch"]["l0"]))
    penalty, count = found[nearest], found["batch"]
    return {
        "false exclusive latents, L1": penalty["false"],
        "right about those that look exclusive, L1": penalty["right"],
        "false exclusive over L1's": count["false"] / max(penalty["false"], 1),
        "true exclusive latents, BatchTopK": count["looks"] - count["false"],
        "L0 of L1": penalty["l0"],
        "L0 of BatchTopK": count["l0"],
    }
