"""Pursuit against plain numpy: one row at a time, least squares by trying every subset, and the loss that teaches the atoms."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from assay import ops
from assay.dictionary import Dictionary
from assay.errors import ConfigError

K = 4


def nonnegative_least_squares(x, columns):
    """min ||x - A f|| over f >= 0: the best of the unconstrained solutions on all subsets that have no negative entry."""
    best, found = np.linalg.norm(x), np.zeros(columns.shape[1])
    for size in range(1, columns.shape[1] + 1):
        for subset in combinations(range(columns.shape[1]), size):
            f = np.linalg.lstsq(columns[:, subset], x, rcond=None)[0]
            error = np.linalg.norm(x - columns[:, subset] @ f)
            if (f >= 0).all() and error < best:
                best, found = error, np.zeros(columns.shape[1])
                found[list(subset)] = f
    return found


def orthogonal_matching_pursuit(x, atoms, k):
    taken, f, rest = [], np.zeros(0), x
    for _ in range(k):
        products = atoms @ rest
        if products.max() <= 1e-9:
            break
        taken.append(int(products.argmax()))
        f = nonnegative_least_squares(x, atoms[taken].T)
        rest = x - atoms[taken].T @ f
    codes = np.zeros(len(atoms))
    codes[taken] = f
    return codes


def matching_pursuit(x, atoms, k):
    codes = np.zeros(len(atoms))
    for _ in range(k):
        products = atoms @ (x - codes @ atoms)
        if products.max() > 0:
            codes[products.argmax()] += products.max()
    return codes


def gradient_pursuit(x, atoms, k):
    codes, taken = np.zeros(len(atoms)), np.zeros(len(atoms), bool)
    for _ in range(k):
        rest = x - codes @ atoms
        products = atoms @ rest
        taken[products.argmax()] = True
        slope = products * taken
        codes = np.maximum(codes + slope @ slope / np.square(slope @ atoms).sum() * slope, 0)
    return codes


@pytest.mark.parametrize(
    ("update", "plain"),
    [("orthogonal", orthogonal_matching_pursuit), ("matching", matching_pursuit), ("gradient", gradient_pursuit)],
)
def test_codes_are_those_of_the_plain_algorithm(build, step, update, plain):
    pursuit = build("pursuit", k=K, update=update)
    pursuit.normalize_atoms()
    atoms, bias = pursuit.atoms.detach().numpy(), pursuit.decoder_bias.detach().numpy()
    expected = np.stack([plain(row - bias, atoms, K) for row in step.x.numpy()])
    torch.testing.assert_close(pursuit.encode_scaled(step.x).to_dense(), torch.from_numpy(expected))


def test_atoms_leave_where_the_constraint_wants_it(build):
    """Many steps: a free fit would have negative coefficients in some of these rows, and the active sets are put to use."""
    pursuit = build("pursuit", k=8)
    pursuit.normalize_atoms()
    atoms, bias = pursuit.atoms.detach().numpy(), pursuit.decoder_bias.detach().numpy()
    x = torch.randn(300, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    codes = pursuit.encode_scaled(x)
    fewer = (codes.l0() < 8).nonzero().view(-1)[:4]
    assert len(fewer)
    expected = np.stack([orthogonal_matching_pursuit(row - bias, atoms, 8) for row in x[fewer].numpy()])
    torch.testing.assert_close(codes.to_dense()[fewer], torch.from_numpy(expected))


def test_loss_teaches_the_atoms_with_codes_fixed(layout, build, step, agree):
    pursuit = build("pursuit", k=K)
    pursuit.normalize_atoms()
    codes = pursuit.encode_scaled(step.x).to_dense().detach()
    reconstruction = codes @ pursuit.atoms + pursuit.decoder_bias
    agree(pursuit, step, {"reconstruction": (step.target - reconstruction).pow(2).sum(1).mean()})


@pytest.mark.parametrize("update", ["orthogonal", "gradient", "matching"])
@pytest.mark.parametrize("k", [1, 10, 24, 99])
def test_more_steps_never_explain_less(build, step, k, update):
    pursuit = build("pursuit", k=1, update=update)
    pursuit.normalize_atoms()
    x = torch.cat([step.x, torch.zeros(1, 10).double(), pursuit.atoms.detach()[:2]]) - pursuit.decoder_bias.detach()
    errors = []
    for steps in (k, k + 1):
        codes = ops.pursue(x, pursuit.atoms.detach(), steps, update)
        assert bool((codes.values > 0).all())
        assert codes.l0().max() <= steps
        errors.append((x - codes.to_dense() @ pursuit.atoms).square().sum(1))
    assert bool((errors[1] <= errors[0] * (1 + 1e-6) + 1e-12).all())


def test_atoms_come_from_any_dictionary(build):
    gated = build("gated").float()
    with torch.no_grad():
        gated.mean.fill_(0.5)
        gated.scale.fill_(2.0)
    gated.provenance = {"site": "resid_post.1"}
    pursuit = Dictionary.registry.named("pursuit").of(gated, k=3)
    torch.testing.assert_close(pursuit.atoms, gated.atoms / gated.atoms.norm(dim=1, keepdim=True))
    assert pursuit.provenance == {"site": "resid_post.1", "pursued_from": "gated"}
    raw = torch.randn(64, 10, generator=torch.Generator().manual_seed(2))
    alone = (gated.decoder_bias.detach() * 2 + 0.5 - raw).square().sum()
    assert float((pursuit(raw).detach() - raw).square().sum()) < float(alone)
    assert pursuit.encode(raw).l0().max() <= 3


def test_one_of_several_sites_is_refused(build):
    crosscoder = build("crosscoder", sites=2)
    with pytest.raises(ConfigError, match="crosscoder"):
        Dictionary.registry.named("pursuit").of(crosscoder, k=3)


def test_row_without_direction_has_no_codes():
    atoms = torch.eye(3)
    assert ops.pursue(torch.tensor([[-1.0, -2.0, 0.0]]), atoms, 2).l0().tolist() == [0.0]
    assert ops.pursue(torch.zeros(0, 3), atoms, 2).to_dense().shape == (0, 3)
