"""Codes by search (inference-time optimisation), and what needs no training, where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import torch

from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from tests.science.claims import Claim, trial
from tests.science.planted_arms import measure, settings, trained

PURSUIT, BASELINES = "13.10 Inference-time optimisation", "13.9 Baselines"
K = 3
FITTED = ("identity", "pca", "ica", "nmf", "random")


@trial(
    "96 directions in 48 dimensions, 3 active; width 112, 600 steps of 160 rows; orthogonal pursuit with as many steps as ReLU has L0",
    Claim(
        PURSUIT,
        "pursuit",
        "With a ReLU dictionary's atoms, more is explained than by its encoder",
        "gain over ReLU",
        ">= 0.05",
    ),
    Claim(
        PURSUIT, "pursuit", "The true atoms explain the rows, with 6 steps", "explained variance of oracle", ">= 0.95"
    ),
    Claim(
        PURSUIT,
        "pursuit",
        "The gradient steps of the paper explain almost as much",
        "loss of gradient steps",
        "<= 0.05",
    ),
    Claim(PURSUIT, "pursuit", "With codes by pursuit the atoms are learnt", "MMCS of learnt atoms", ">= 0.9"),
)
def search(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    shape = {"d_in": 48, "width": 112, "seed": seed}
    arms = {
        "relu": settings("relu", **shape, sparsity={"value": 0.4, "warmup": 0.2}),
        "pursuit": settings("pursuit", **shape, k=K),
    }
    found = trained(arms, planted)
    relu = measure(found["relu"], planted)
    pursuit = Dictionary.registry.named("pursuit")
    steps = max(round(relu.l0), 1)
    orthogonal = measure(pursuit.of(found["relu"], k=steps), planted)  # pyright: ignore
    descending = measure(pursuit.of(found["relu"], k=steps, update="gradient"), planted)  # pyright: ignore
    oracle = settings("pursuit", d_in=48, width=96, k=6).build()
    with torch.no_grad():
        oracle.atoms.copy_(planted.directions)
    return {
        "gain over ReLU": orthogonal.explained_variance - relu.explained_variance,
        "explained variance of oracle": measure(oracle, planted).explained_variance,
        "loss of gradient steps": orthogonal.explained_variance - descending.explained_variance,
        "MMCS of learnt atoms": measure(found["pursuit"], planted).recovery,
    }


@trial(
    "96 directions in 48 dimensions, 3 active; TopK of width 112 after 600 steps of 160 rows, baselines fitted to the same rows; k 3",
    Claim(
        BASELINES,
        "topk",
        "At equal k training explains more than the best baseline",
        "gain over the best baseline",
        ">= 0.2",
    ),
    Claim(
        BASELINES,
        "random",
        "Random atoms of the same number explain less than half as much",
        "share of what TopK explains",
        "<= 0.5",
    ),
    Claim(
        BASELINES,
        "ica",
        "Where directions are no more than dimensions, FastICA finds them",
        "|cosine| of complete ICA",
        ">= 0.95",
    ),
)
def baselines(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    wide = {"width": 112, "seed": seed}
    arms = {"topk": settings("topk", d_in=48, **wide, k=K)}
    arms |= {name: settings(name, d_in=48, k=K, **(wide if name in ("nmf", "random") else {})) for name in FITTED}
    points = {name: measure(each, planted) for name, each in trained(arms, planted).items()}
    explained = {name: point.explained_variance for name, point in points.items()}
    complete = replace(planted, atoms=48, signed=True)
    ica = settings("ica", d_in=48, seed=seed).build()
    ica.start(complete.sample(32_768, key=0))
    return {
        "gain over the best baseline": explained["topk"] - max(explained[name] for name in FITTED),
        "share of what TopK explains": explained["random"] / explained["topk"],
        "|cosine| of complete ICA": complete.recovery(ica.atoms),
    }
