"""A dictionary trained on another's atoms finds what these were composed of."""

from __future__ import annotations

import pytest
import torch

from assay.activations.planted import Planted
from assay.analysis.meta_dictionary import decompose
from assay.dictionary import Dictionary
from assay.errors import ShapeMismatch
from assay.training import TrainConfig
from assay.training.on_atoms import train_on_atoms

PARTS = Planted(width=24, atoms=16, active=2.0)
CONFIG = TrainConfig(steps=250, learning_rate=1e-2, log_every=250, dead_window=2000)


def settings(variant: str, **values):
    return Dictionary.registry.named(variant).Config(**values)


@pytest.fixture(scope="module")
def composed() -> Dictionary:
    """200 atoms, each of about two planted directions."""
    dictionary = settings("relu", d_in=24, width=200).build()
    sums = PARTS.sample(300, key=0)
    with torch.no_grad():
        dictionary.atoms.copy_(sums[sums.norm(dim=1) > 0.1][:200])
    dictionary.normalize_atoms()
    dictionary.provenance = {"site": "resid_post.1"}
    return dictionary


@pytest.mark.parametrize("variant", ["batch_topk", "topk"])
def test_it_finds_the_parts(composed, variant):
    before = composed.atoms.detach().clone()
    meta = train_on_atoms(composed, settings(variant, d_in=24, width=24, k=2), CONFIG)
    assert torch.equal(composed.atoms, before), "the dictionary itself stays as it was"
    assert PARTS.recovery(meta.atoms) > 0.9
    found = decompose(composed, meta)
    assert found.explained_variance > 0.7
    assert found.left.shape == (200,)
    assert float(found.left.mean()) < 0.35
    assert len(found.codes) == 200
    parts = found.parts_of(3)
    assert parts == sorted(parts, key=lambda part: -part[1])
    assert meta.provenance == {"site": "resid_post.1", "atoms_of": composed.config.digest()}


def test_random_atoms_have_no_parts(composed):
    random = settings("relu", d_in=24, width=200).build()
    meta = train_on_atoms(random, settings("topk", d_in=24, width=24, k=2), CONFIG)
    assert decompose(random, meta).explained_variance < 0.6


def test_another_width_is_refused(composed):
    with pytest.raises(ShapeMismatch, match="width of the atoms"):
        train_on_atoms(composed, settings("topk", d_in=8, width=16), CONFIG)
