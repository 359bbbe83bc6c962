"""Planted activations are what they say: sparse sums of known unit directions, the same for the same key."""

from __future__ import annotations

import pytest
import torch

from assay.activations.planted import Planted


def test_rows_are_sums_of_the_directions():
    planted = Planted(width=12, atoms=20)
    torch.testing.assert_close(planted.sample(50, 3), planted.codes(50, 3) @ planted.directions)
    assert planted.sample(50, 3).shape == (50, 12)


def test_directions_have_unit_norm():
    torch.testing.assert_close(Planted().directions.norm(dim=1), torch.ones(96))


def test_presence_and_strength_are_as_described():
    codes = Planted(atoms=96, active=3.0).codes(20_000, 0)
    present = codes != 0
    assert abs(float(present.sum(1).double().mean()) - 3.0) < 0.05
    assert abs(float(present.sum(1).double().var()) - 3.0 * (1 - 3 / 96)) < 0.1  # binomial: independent atoms
    assert float((present.double().mean(0) - 3 / 96).abs().max()) < 0.006
    strengths = codes[present]
    assert 0.5 <= float(strengths.min()) < 0.51
    assert 1.49 < float(strengths.max()) <= 1.5
    assert abs(float(strengths.mean()) - 1.0) < 0.01


def test_signed_strengths_go_both_ways():
    strengths = Planted(signed=True).codes(5_000, 0)
    strengths = strengths[strengths != 0]
    assert abs(float((strengths > 0).double().mean()) - 0.5) < 0.02
    assert float(strengths.abs().min()) >= 0.5


def test_coherent_directions_share_one():
    plain, spiked = Planted(width=400, atoms=60), Planted(width=400, atoms=60, coherence=0.7)
    cosines = spiked.directions @ spiked.directions.T
    torch.testing.assert_close(cosines.diag(), torch.ones(60))
    others = cosines[~torch.eye(60, dtype=torch.bool)]
    assert abs(float(others.mean()) - 0.7) < 0.02, "<a_i, a_j> is rho where the rest is at right angles"
    assert float(others.std()) < 0.05
    assert abs(float((plain.directions @ plain.directions.T)[~torch.eye(60, dtype=torch.bool)].mean())) < 0.02


def test_rows_have_as_many_atoms_as_said():
    assert bool(((Planted(counts=(4, 4)).codes(50, 0) != 0).sum(1) == 4).all())
    present = Planted(counts=(1, 6)).codes(6_000, 0) != 0
    counts = torch.bincount(present.sum(1), minlength=7)
    assert counts[0] == 0
    assert len(counts) == 7
    assert float((counts[1:] / 1000 - 1).abs().max()) < 0.1
    assert float((present.double().mean(0) - 3.5 / 96).abs().max()) < 0.01


def test_noise_has_its_standard_deviation():
    clean, noisy = Planted(active=0.0), Planted(active=0.0, noise=0.2)
    assert not clean.sample(1000, 0).any()
    assert abs(float(noisy.sample(1000, 0).std()) - 0.2) < 0.005


def test_everything_follows_from_seed_and_key():
    torch.manual_seed(0)
    first = Planted(noise=0.1).sample(8, 5)
    torch.manual_seed(1)
    ambient = torch.random.get_rng_state()
    assert torch.equal(Planted(noise=0.1).sample(8, 5), first)
    assert torch.equal(torch.random.get_rng_state(), ambient)
    assert not torch.equal(Planted(noise=0.1).sample(8, 6), first)
    assert not torch.equal(Planted(noise=0.1, seed=1).sample(8, 5), first)
    assert not torch.equal(Planted(seed=1).directions, Planted(seed=0).directions)
    assert torch.equal(Planted(seed=2).sample(8, -1), Planted(seed=2).sample(8, -1))


def test_the_true_dictionary_is_recovered_whatever_its_order_and_lengths():
    planted = Planted(width=12, atoms=20)
    shuffled = planted.directions.flip(0) * torch.linspace(0.1, 9, 20)[:, None]
    assert planted.recovery(shuffled) == pytest.approx(1.0, abs=1e-6)
    assert planted.recovery(torch.cat([shuffled.double(), torch.zeros(3, 12)])) == pytest.approx(1.0, abs=1e-6)


def test_recovery_counts_what_is_missing_and_what_points_away():
    planted = Planted(width=400, atoms=2)
    assert planted.recovery(planted.directions[:1]) == pytest.approx(0.5, abs=0.1)
    assert planted.recovery(-planted.directions) == pytest.approx(0.0, abs=0.2)
    assert Planted(width=400, atoms=2, signed=True).recovery(-planted.directions) == pytest.approx(1.0, abs=1e-6)


def test_recovery_by_random_atoms_is_low():
    other = Planted(seed=1).directions
    assert Planted(seed=0).recovery(other) < 0.6
