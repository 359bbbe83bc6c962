"""Absorption where the truth is known: none in an oracle, nearly all in a dictionary that was made to absorb."""

from __future__ import annotations

import math

import pytest
import torch

from assay.activations.planted import Planted
from assay.analysis.absorption import Words, _share
from assay.analysis.pooling import PooledCodes, raw_atoms
from assay.testing.known import known_dictionaries

FAMILIES, CHILDREN, ALONE, TURNS = 4, 60, 3, 10
PLANTED = Planted(width=FAMILIES * (1 + CHILDREN), atoms=FAMILIES * (1 + CHILDREN), orthogonal=True, children=CHILDREN)
TURN = FAMILIES * (CHILDREN + ALONE)


@pytest.fixture(scope="module")
def words():
    """Each family's parent with each child in turn, and three times alone; other atoms are there by chance."""
    row = torch.arange(TURN * TURNS)
    family, slot = row % FAMILIES, row // FAMILIES % (CHILDREN + ALONE)
    draw = torch.Generator().manual_seed(0)
    strength = torch.rand(len(row), PLANTED.atoms, generator=draw) + 0.5
    present = torch.zeros_like(strength)
    parent = family * (1 + CHILDREN)
    present[row, parent] = 1.0
    with_child = slot < CHILDREN
    present[row[with_child], (parent + 1 + slot)[with_child]] = 1.0
    y = family[:, None] == torch.arange(FAMILIES)
    return Words.of(((present * strength) @ PLANTED.directions).double(), y, row // TURN % 2 == 0)


@pytest.fixture(scope="module")
def read(words):
    with torch.no_grad():
        return {
            name: (PooledCodes.of(dictionary.encode(words.x.float()).to_dense()), raw_atoms(dictionary))
            for name, dictionary in known_dictionaries(PLANTED).items()
        }


def mean(found, what):
    return sum(getattr(each, what) for each in found) / len(found)


def test_the_probes_know_the_families(words):
    assert words.f1().min() > 0.95


def test_an_oracle_absorbs_nothing(words, read):
    found = words.absorption(*read["oracle"])
    assert [each.main for each in found] == [(family * (1 + CHILDREN),) for family in range(FAMILIES)]
    assert mean(found, "main_f1") > 0.99
    assert mean(found, "share") < 0.01
    assert mean(found, "full") == 0


def test_a_dictionary_made_to_absorb_is_found_out(words, read):
    found = words.absorption(*read["absorbing"])
    assert [each.main for each in found] == [(family * (1 + CHILDREN),) for family in range(FAMILIES)]
    assert mean(found, "share") >= 0.9
    assert mean(found, "full") >= 0.9
    assert mean(found, "main_f1") < 0.2, "the parent's own latent hardly ever speaks"


def test_random_directions_stand_for_no_family(words, read):
    found = words.absorption(*read["random"])
    assert mean(found, "main_f1") < 0.7
    assert mean(found, "share") < 0.3


def test_silence_has_no_latents_and_no_score(words, read):
    found = words.absorption(*read["zero"])
    assert all(each.main == () and math.isnan(each.share) and each.main_f1 == 0 for each in found)


def test_the_norm_of_an_atom_is_of_no_account(words, read):
    codes, atoms = read["absorbing"]
    longer = PooledCodes(codes.texts, codes.latents, codes.values / 4, codes.count, codes.width)
    for one, other in zip(words.absorption(codes, atoms), words.absorption(longer, 4 * atoms), strict=True):
        assert one.main == other.main
        assert one.share == pytest.approx(other.share)


def test_a_mean_that_all_words_share_is_of_no_account(words, read):
    shift = 50 * PLANTED.directions[0].double() + 20
    moved = Words.of(words.x + shift, words.y, words.test)
    for one, other in zip(words.absorption(*read["absorbing"]), moved.absorption(*read["absorbing"]), strict=True):
        assert one.share == pytest.approx(other.share, abs=1e-3)


def test_shares_are_what_the_definition_says():
    whole = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
    main = torch.tensor([1.0, 0.2, 0.0, 0.5, 0.5, 0.0])
    others = torch.tensor([0.9, 0.3, 0.8, 0.4, 0.9, 0.9])
    assert _share(whole, main, others).tolist() == pytest.approx([0.0, 0.0, 1.0, 0.4 / 0.9, 0.5, 0.0])
