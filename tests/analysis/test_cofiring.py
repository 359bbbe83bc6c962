"""Counts of rows in which two latents fire, against plain tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.analysis.cofiring import co_firings, mean_absolute_phi
from assay.codes import SparseCodes


def table(rows, latents, key):
    generator = torch.Generator().manual_seed(key)
    values = torch.randn(rows, latents, generator=generator)
    return values * (torch.rand(rows, latents, generator=generator) < 0.2)


@pytest.mark.parametrize("csr", [False, True])
def test_counts_are_those_of_the_tables(csr):
    ours, theirs = table(5000, 7, 0), table(5000, 9, 1)
    codes = [SparseCodes.dense(part) for part in (ours, theirs)]
    here, there = (each.to_csr() for each in codes) if csr else codes
    fires = co_firings([(here, there)])
    a, b = (ours != 0).double(), (theirs != 0).double()
    assert torch.equal(fires.both.double(), a.T @ b)
    assert torch.equal(fires.here.double(), a.sum(0))
    torch.testing.assert_close(fires.phi(), torch.from_numpy(np.corrcoef(a.T, b.T)[:7, 7:]))
    torch.testing.assert_close(fires.f1()[2, 3], 2 * (a[:, 2] * b[:, 3]).sum() / (a[:, 2].sum() + b[:, 3].sum()))


def test_batches_add_up():
    ours = table(300, 7, 0)
    whole = co_firings([(SparseCodes.dense(ours), SparseCodes.dense(ours))])
    parts = co_firings((SparseCodes.dense(part), SparseCodes.dense(part)) for part in ours.split(70))
    assert torch.equal(whole.both, parts.both)
    assert whole.rows == parts.rows == 300
    assert torch.equal(whole.both.diagonal(), whole.here)


def test_mean_phi_leaves_out_the_diagonal_and_the_silent():
    ours = table(4000, 6, 0)
    ours[:, 5] = 0
    ours[:, 4] = ours[:, 3]
    codes = SparseCodes.dense(ours)
    phi = np.abs(np.corrcoef((ours[:, :5] != 0).double().T))
    expected = phi[~np.eye(5, dtype=bool)].mean()
    assert mean_absolute_phi(co_firings([(codes, codes)])) == pytest.approx(expected)
