"""The decomposability penalty (arXiv:2604.03436) on planted data: does it make atoms that a meta dictionary can't compose?

The critic that was trained alongside, and another that comes afterwards, may answer differently.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from assay.activations.planted import Planted
from assay.analysis.meta_dictionary import decompose
from assay.training import TrainConfig
from assay.training.on_atoms import train_on_atoms
from tests.science.claims import Claim, trial
from tests.science.planted_arms import measure, settings, trained

SECTION = "9 MetaSAE"
PENALTIES = (0.0, 0.1, 0.3, 1.0)
K_META = 4


@trial(
    "96 directions in 48 dimensions, 3 active; width 192, k 6, 16 meta-atoms of which 4 make an atom, sigma 1; penalties 0, 0.1, 0.3, 1; "
    "600 steps of 160 rows; afterwards a BatchTopK dictionary of the same size is trained on the atoms",
    Claim(
        SECTION, "meta", "The error of the meta dictionary rises with the penalty", "least rise of its error", ">= 0.02"
    ),
    Claim(SECTION, "meta", "At penalty 0.3 little is lost", "loss of explained variance", "<= 0.02"),
    Claim(SECTION, "meta", "At penalty 0.3 no more latents are dead", "rise of the dead share", "<= 0.02"),
    Claim(
        SECTION,
        "meta",
        "A meta dictionary trained afterwards explains less of the atoms at penalty 0.3 too",
        "rise of a later one's error",
        ">= 0.02",
    ),
    Claim(
        SECTION,
        "meta",
        "Its error, too, rises with the penalty throughout",
        "least rise of a later one's error",
        ">= 0.02",
    ),
)
def penalties(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, active=3.0, seed=seed)
    arms = {
        f"{penalty}": settings(
            "meta",
            d_in=48,
            width=192,
            seed=seed,
            k=6,
            k_meta=K_META,
            meta_share=1 / 12,
            decomposability={"value": penalty},
        )
        for penalty in PENALTIES
    }
    dictionaries = trained(arms, planted, dead_window=5000)
    points = {name: measure(dictionary, planted) for name, dictionary in dictionaries.items()}
    critic = settings("batch_topk", d_in=48, width=16, seed=seed, k=K_META)
    config = TrainConfig(steps=600, learning_rate=5e-3, dead_window=5000, log_every=600)
    own, later = [], []
    for dictionary in dictionaries.values():
        atoms = dictionary.atoms.detach()
        with torch.no_grad():
            own.append(float((atoms - dictionary.composed(atoms)).square().sum(-1).mean()))
        later.append(float(decompose(dictionary, train_on_atoms(dictionary, critic, config)).left.mean()))
    alone, joint = points["0.0"], points["0.3"]
    return {
        "least rise of its error": min(b - a for a, b in pairwise(own)),
        "loss of explained variance": alone.explained_variance - joint.explained_variance,
        "rise of the dead share": joint.dead - alone.dead,
        "rise of a later one's error": later[2] - later[0],
        "least rise of a later one's error": min(b - a for a, b in pairwise(later)),
    }
