"""Matching finds a permutation, tells shared from exclusive latents, and stands at chance where nothing is shared."""

from __future__ import annotations

import pytest
import torch

from assay.analysis.stability import chance, match
from assay.dictionaries.relu import ReLU
from assay.dictionaries.topk import TopK
from assay.dictionary import Dictionary
from assay.errors import ConfigError, ShapeMismatch


def dictionary(width: int = 24, d_in: int = 16, seed: int = 0, kind: type[Dictionary] = TopK) -> Dictionary:
    return kind.Config(d_in=d_in, width=width, seed=seed).build()


def test_another_order_of_the_same_latents_is_found() -> None:
    first, second = dictionary(), dictionary()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        second.atoms.copy_(first.atoms[order])
    found = match(first, second)
    assert torch.equal(order[found.second], found.first)
    assert found.consistency() == pytest.approx(1, abs=1e-5)
    assert found.shared() == 1
    assert found.exclusive() == (0, 0)


def test_half_of_the_latents_being_new_is_seen() -> None:
    first, second = dictionary(16, 256), dictionary(16, 256, seed=1)
    with torch.no_grad():
        second.atoms[:8] = first.atoms[:8]
    found = match(first, second)
    assert found.shared() == 0.5
    assert found.exclusive() == (0.5, 0.5)


def test_dead_latents_are_left_out() -> None:
    first, second = dictionary(16, 256), dictionary(16, 256, seed=1)
    with torch.no_grad():
        second.atoms[:8] = first.atoms[:8]
    alive = torch.arange(16) < 8
    found = match(first, second, (alive, alive))
    assert (len(found.first), found.shared()) == (8, 1)


def test_random_directions_stand_at_chance() -> None:
    found = match(dictionary(64, 32), dictionary(64, 32, seed=1)).consistency()
    assert found == pytest.approx(chance(32, (64, 64)), abs=0.03)


def test_widths_may_differ_and_every_latent_of_the_narrower_has_a_partner() -> None:
    found = match(dictionary(8), dictionary(24))
    assert found.first.tolist() == list(range(8))
    assert len(set(found.second.tolist())) == 8
    assert (len(found.nearest), len(found.nearest_back)) == (8, 24)


def test_an_opposite_atom_is_another_latent_unless_codes_have_signs() -> None:
    from assay.dictionaries.abs_topk import AbsTopK

    for kind, same in ((ReLU, -1), (AbsTopK, 1)):
        first, second = dictionary(4, 64, kind=kind), dictionary(4, 64, kind=kind)
        with torch.no_grad():
            second.atoms.copy_(-first.atoms)
        assert (match(first, second).consistency() > 0.9) == (same > 0)


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(ShapeMismatch):
        match(dictionary(d_in=16), dictionary(d_in=8))
    with pytest.raises(ConfigError, match="0 latents"):
        match(dictionary(), dictionary(), (torch.zeros(24, dtype=torch.bool), None))
