"""All variants on activations whose true dictionary is known.

96 directions in 48 dimensions, three of them in a row on average; width 112, 600 steps of 160 rows. Settings are the defaults; only
the dial moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from assay.activations.planted import Planted
from assay.activations.store import ActivationStore
from assay.dictionary import Dictionary
from assay.training import TrainConfig, train
from benchmarks.family.dials import grid
from benchmarks.results import Row

L0 = 3.5
"""Where variants are compared: a little more than what is active."""
WIDTH, HELD_OUT = 112, 8192
KEYS = ("explained_variance", "mmcs", "f1", "dead", "gamma")
TRAIN = TrainConfig(steps=600, learning_rate=5e-3, log_every=600)


def points(variant: type[Dictionary], seeds: Sequence[int]) -> Iterator[Row]:
    """A row for each seed, which decides about data and dictionaries, and each place on the dial that the settings allow."""
    for seed in seeds:
        yield from _of_seed(variant, seed)


def _of_seed(variant: type[Dictionary], seed: int) -> list[Row]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    base = variant.Config(seed=seed).resized(d_in=planted.width, width=WIDTH)
    arms = {}
    for dial in grid(base):
        if not (isinstance(dial, int) and dial > base.width):
            arms[f"{dial:g}"] = base.revised({base.dial: dial}).build()
    store = ActivationStore.of(planted.sample(65_536, key=0), batch_size=160, seed=seed)
    for _ in train(arms, store, TRAIN):
        pass
    return [
        {"variant": variant.name, "seed": seed, "dial": arm.config.dial_value(), **measured(arm, planted)}
        for arm in arms.values()
    ]


@torch.no_grad()
def measured(dictionary: Dictionary, planted: Planted) -> Row:
    """Figures on rows that were not trained on.

    explained variance 1 - E||x - xhat||^2 / E||x - mean x||^2; mmcs the mean over true directions of the best cosine with an atom (with
    either of its directions where codes are signed); f1 the mean over true directions of the best latent's F1 in telling where it is;
    dead the share of latents that never fire; gamma E||xhat||^2 / E<x, xhat>.
    """
    x, present = planted.sample(HELD_OUT, key=1), planted.codes(HELD_OUT, key=1) != 0
    codes = dictionary.encode(x)
    estimate, x = dictionary.decode(codes, x).double(), x.double()
    fires = codes.to_dense() != 0
    both = present.float().T @ fires.float()
    f1 = 2 * both / (present.sum(0)[:, None] + fires.sum(0)[None]).clamp_min(1)
    judged = replace(planted, signed=dictionary.signed)
    return {
        "l0": float(codes.l0().mean()),
        "explained_variance": 1 - float((x - estimate).square().sum() / (x - x.mean(0)).square().sum()),
        "mmcs": judged.recovery(dictionary.atoms, dictionary.config.block),
        "f1": float(f1.amax(1).mean()),
        "dead": float((~fires.any(0)).float().mean()),
        "gamma": float(estimate.square().sum() / (estimate * x).sum().clamp_min(1e-12)),
    }
