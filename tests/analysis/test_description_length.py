"""Bits of codes that were made by hand follow from how they were made."""

from __future__ import annotations

import math

import pytest
import torch

from assay.activations.planted import Planted
from assay.analysis.description_length import description_length, gaussian_bits
from assay.dictionaries.relu import ReLU
from assay.dictionaries.topk import TopK
from assay.testing.known import constant, identity, known_planted, oracle

PLANTED = known_planted()
X = PLANTED.sample(4000, 1)


def turned(width: int, seed: int = 0) -> ReLU:
    """Random directions that explain everything: a turned `identity`, so dense in every row."""
    dictionary = identity(width)
    turn = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed))).Q
    with torch.no_grad():
        dictionary.encoder.copy_(dictionary.encoder @ turn)
        dictionary.atoms.copy_(dictionary.atoms @ turn)
    return dictionary


def test_which_latents_fire_costs_what_their_coins_do():
    found = description_length(oracle(PLANTED), X)
    densities = PLANTED.codes(4000, 1).ne(0).double().mean(0)
    coins = [-p * math.log2(p) - (1 - p) * math.log2(1 - p) for p in densities.tolist()]
    assert found.which == pytest.approx(sum(coins), rel=1e-9)
    assert found.l0 == pytest.approx(float(densities.sum()))


def test_even_strengths_cost_the_logarithm_of_their_bins():
    found = description_length(oracle(PLANTED), X, tolerance=1e-4)
    assert found.values / found.l0 == pytest.approx(math.log2(1.0 / found.width), abs=0.1)
    # a bin errs by width^2 / 12 on average, the rows vary by about L0 E f^2
    spread = float((X - X.mean(0)).square().sum(-1).mean())
    assert found.width == pytest.approx((12 * 1e-4 * spread / found.l0) ** 0.5, rel=0.05)


def test_binning_costs_no_more_than_is_tolerated_and_nearly_that():
    for tolerance in (0.05, 0.01, 1e-3):
        found = description_length(oracle(PLANTED), X, tolerance=tolerance)
        lost = found.explained_variance - found.explained_variance_binned
        assert 0.9 * tolerance < lost <= tolerance * (1 + 1e-9)


def test_oracle_is_cheaper_than_random_at_equal_explained_variance():
    ours, random = description_length(oracle(PLANTED), X), description_length(turned(32), X)
    assert ours.explained_variance == pytest.approx(1, abs=1e-9)
    assert random.explained_variance == pytest.approx(1, abs=1e-9)
    assert ours.codes < 0.5 * random.codes
    assert ours.total < 0.5 * random.total
    assert ours.rest == pytest.approx(0, abs=1e-6)


def test_denser_codes_cost_more():
    costs = []
    for active in (2.0, 4.0, 8.0):
        planted = Planted(width=32, atoms=32, orthogonal=True, active=active)
        costs.append(description_length(oracle(planted), planted.sample(3000, 1)).codes)
    assert costs[0] < 0.7 * costs[1] < 0.5 * costs[2]


def test_latents_that_fire_for_nothing_cost_and_buy_nothing():
    noisy = Planted(width=32, atoms=32, orthogonal=True, noise=0.02)
    x = noisy.sample(3000, 1)
    eager, lazy = TopK(TopK.Config(d_in=32, width=32, k=16)), oracle(noisy)
    with torch.no_grad():
        eager.atoms.copy_(noisy.directions)
        eager.encoder.copy_(noisy.directions)
    theirs, ours = description_length(eager, x), description_length(lazy, x)
    assert theirs.l0 > 2 * ours.l0
    assert theirs.codes > 1.5 * ours.codes
    assert theirs.explained_variance == pytest.approx(ours.explained_variance, abs=0.01)


def test_permuted_latents_cost_the_same():
    known, other = oracle(PLANTED), oracle(PLANTED)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        other.atoms.copy_(known.atoms[order])
        other.encoder.copy_(known.encoder[order])
    ours, theirs = description_length(known, X), description_length(other, X)
    assert theirs.codes == pytest.approx(ours.codes, rel=1e-9)
    assert theirs.total == pytest.approx(ours.total, rel=1e-9)


def test_the_length_of_atoms_and_the_unit_of_activations_change_nothing():
    known, longer = oracle(PLANTED), oracle(PLANTED)
    factors = torch.linspace(0.5, 4, 32)
    with torch.no_grad():
        longer.atoms.mul_(factors[:, None])
        longer.encoder.div_(factors[:, None])
        longer.log_threshold.sub_(factors.log())
    ours, theirs = description_length(known, X), description_length(longer, X)
    assert theirs.codes == pytest.approx(ours.codes, rel=1e-4)
    scaled = oracle(PLANTED)
    scaled.scale.mul_(8.0)
    assert description_length(scaled, 8 * X).codes == pytest.approx(ours.codes, rel=1e-6)


def test_who_explains_nothing_pays_for_everything_that_is_left():
    away = (X - X.mean(0)).double()
    ceiling = gaussian_bits(away.T @ away, 0.01 * float(away.square().sum()))
    mean = description_length(constant(X.mean(0)), X)
    assert mean.codes == 0.0
    assert mean.total == pytest.approx(ceiling, rel=1e-4)
    assert mean.total > 2 * description_length(oracle(PLANTED), X).total


def test_a_gaussian_takes_the_bits_of_rate_and_distortion():
    assert gaussian_bits(torch.eye(4).double(), 4.0) == 0.0
    assert gaussian_bits(torch.eye(4).double(), 1.0) == pytest.approx(4 * math.log2(4) / 2)
    moment = torch.diag(torch.tensor([4.0, 1.0]).double())  # theta = 1: the first down to 1, the second left out
    assert gaussian_bits(moment, 2.0) == pytest.approx(1.0)
