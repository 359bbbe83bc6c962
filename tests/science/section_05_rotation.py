"""CEDAR (arXiv:2605.22679) where a rotation was hidden: its axes are found, and a few coordinates say nearly all."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.activations.planted import Planted
from assay.activations.store import ActivationStore
from assay.dictionaries.rotation import Rotation
from assay.training import TrainConfig, train
from tests.science.claims import Claim, trial

SECTION = "5 CEDAR"
D, K, MORE = 32, 4, 2


@torch.no_grad()
def explained(axes: Tensor, x: Tensor, k: int) -> float:
    """Share of the variance about the mean that the k largest coordinates of each row keep."""
    z = (x - x.mean(0)) @ axes.T
    return float(z.abs().topk(k, dim=1).values.square().sum() / z.square().sum())


@trial(
    "32 directions at right angles in 32 dimensions, 4 active with either sign, noise 0.05, a mean; 1,500 steps of 256 rows",
    Claim(SECTION, "rotation", "The hidden axes are found", "MMCS", ">= 0.98"),
    Claim(
        SECTION,
        "rotation",
        "Two coordinates more than are active explain nearly all",
        "explained variance at k + 2",
        ">= 0.95",
    ),
    Claim(SECTION, "rotation", "Principal axes do not", "explained variance of principal axes at k + 2", "<= 0.75"),
    Claim(SECTION, "rotation", "nor does a random rotation", "explained variance of random axes at k + 2", "<= 0.75"),
    Claim(
        SECTION, "rotation", "It is orthogonal at every step", "largest entry of |U U^T - I|, of all steps", "<= 1e-5"
    ),
    Claim(SECTION, "rotation", "With all coordinates nothing is lost", "largest error with all coordinates", "<= 1e-5"),
)
def hidden_rotation(seed: int) -> dict[str, float]:
    planted = Planted(width=D, atoms=D, active=float(K), noise=0.05, seed=seed, signed=True, orthogonal=True)
    rotation = Rotation(Rotation.Config(d_in=D, k=K, seed=seed))
    random = rotation.atoms.detach().clone()
    store = ActivationStore.of(planted.sample(65_536, key=0) + 1, batch_size=256, seed=seed)
    config = TrainConfig(steps=1500, learning_rate=5e-3, log_every=1)
    identity, worst = torch.eye(D), 0.0
    for _ in train({"rotation": rotation}, store, config):
        axes = rotation.atoms.detach()
        worst = max(worst, float((axes @ axes.T - identity).abs().max()))
    x = planted.sample(8192, key=1) + 1
    principal = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh
    whole = rotation.config.revised({"kept": D}).build()
    whole.load_state_dict(rotation.state_dict())
    return {
        "MMCS": planted.recovery(rotation.atoms),
        "explained variance at k + 2": explained(rotation.atoms, x, K + MORE),
        "explained variance of principal axes at k + 2": explained(principal, x, K + MORE),
        "explained variance of random axes at k + 2": explained(random, x, K + MORE),
        "largest entry of |U U^T - I|, of all steps": worst,
        "largest error with all coordinates": float((whole(x) - x).detach().abs().max()),
    }
