"""Latents that were split by hand are found split; planted concepts that are common have a latent, rare ones have none."""

from __future__ import annotations

import math

import pytest
import torch

from assay.activations.planted import Planted
from assay.analysis.completeness import completeness, logistic
from assay.analysis.splitting import find_children
from assay.codes import SparseCodes
from assay.dictionary import Dictionary
from assay.errors import ShapeMismatch
from assay.testing.known import known_planted, oracle


def made(directions, threshold=0.25):
    """A dictionary whose latent i fires where x has a component along direction i."""
    variant = Dictionary.registry.named("jumprelu")
    dictionary = variant(variant.Config(d_in=directions.shape[1], width=len(directions)))
    with torch.no_grad():
        dictionary.atoms.copy_(directions / directions.norm(dim=-1, keepdim=True))
        dictionary.encoder.copy_(directions / directions.norm(dim=-1, keepdim=True))
        dictionary.log_threshold.fill_(math.log(threshold))
    return dictionary


def test_children_are_those_of_the_tree():
    planted = known_planted(children=3, alone=0.05)
    parents = planted.directions[:: 1 + 3]
    lean = 0.8 * planted.directions[planted.parents] * (planted.parents >= 0)[:, None]
    narrow, wide = made(parents), made(planted.directions + lean)
    splitting = find_children(narrow, wide, planted.sample(4000, 1).split(1000))
    for number in range(len(parents)):
        family = set(range(4 * number, 4 * number + 4))
        children = splitting.children(number)
        assert {child for child, _, _ in children} == family
        assert [cosine for _, cosine, _ in children] == sorted((cosine for _, cosine, _ in children), reverse=True)
        assert all(share > 0.9 for _, _, share in children)
    assert splitting.split() == 1.0
    assert splitting.counts().tolist() == [4] * len(parents)


def test_a_dictionary_isnt_split_in_itself():
    planted = known_planted()
    splitting = find_children(oracle(planted), oracle(planted), [planted.sample(2000, 1)])
    assert torch.equal(splitting.is_child, torch.eye(planted.atoms, dtype=torch.bool))
    assert splitting.split() == 0.0


def test_other_activations_are_refused():
    with pytest.raises(ShapeMismatch, match="same activations"):
        find_children(made(torch.eye(4)), made(torch.eye(5)), [])


def pairs(planted, dictionary):
    rows = planted.sample(20_000, 1), planted.codes(20_000, 1)
    return [
        (SparseCodes.dense(concepts), dictionary.encode(x))
        for x, concepts in zip(*(part.split(5000) for part in rows), strict=True)
    ]


def test_a_wider_dictionary_reaches_rarer_concepts():
    planted = Planted(width=64, atoms=64, active=3.0, zipf=1.0, orthogonal=True)
    narrow, wide = (completeness(pairs(planted, made(planted.directions[:count]))) for count in (8, 32))
    assert narrow.slope > 1
    assert wide.slope > 1
    assert wide.half < 0.5 * narrow.half
    assert narrow.covered() == pytest.approx(8 / 64, abs=0.02)
    assert wide.covered() == pytest.approx(32 / 64, abs=0.02)
    common = planted.codes(20_000, 1).ne(0).double().mean(0)
    assert float(common[8]) < narrow.half < float(common[6])


def test_the_logistic_fit_is_found():
    x = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 7
    chance = (1.5 * (x + 6)).sigmoid()
    yes = torch.rand(4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64) < chance
    intercept, slope = logistic(x, yes)
    assert slope == pytest.approx(1.5, rel=0.1)
    assert -intercept / slope == pytest.approx(-6, abs=0.1)
