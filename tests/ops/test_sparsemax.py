"""Sparsemax against the solver of Martins and Astudillo 2016, which sorts: values, Jacobian, exact zeros, and which products it selects."""

from __future__ import annotations

import pytest
import torch

from assay import ops
from assay.codes import SparseCodes
from assay.ops import forced


def by_sorting(z):
    """Algorithm 1 of the paper, one row at a time: k(z) = max{r: 1 + r z_(r) > sum_{j<=r} z_(j)}."""
    rows = []
    for row in z:
        descending = row.sort(descending=True).values
        r = torch.arange(1, len(row) + 1, dtype=row.dtype)
        k = int((1 + r * descending > descending.cumsum(0)).nonzero().max()) + 1
        rows.append((row - (descending[:k].sum() - 1) / k).clamp_min(0))
    return torch.stack(rows)


def stored(z, layout):
    """All of a table, in either layout."""
    codes = SparseCodes.dense(torch.ones_like(z))
    return (codes if layout == "dense" else codes.to_csr()).with_values(z if layout == "dense" else z.flatten())


def random(rows, width, spread, key=0, dtype=torch.float64):
    return spread * torch.randn(rows, width, generator=torch.Generator().manual_seed(key), dtype=dtype)


@pytest.mark.parametrize("layout", ["dense", "csr"])
@pytest.mark.parametrize("spread", [0.0, 0.01, 0.3, 1.0, 30.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_values_are_the_reference_solvers(layout, spread, dtype, tolerance):
    z = random(20, 50, spread, dtype=dtype)
    p = ops.sparsemax(stored(z, layout)).to_dense()
    expected = by_sorting(z)
    torch.testing.assert_close(p, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(p.sum(1), torch.ones(20, dtype=dtype), rtol=0, atol=tolerance)
    assert torch.equal(p == 0, expected == 0), "zeros are exact"


@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_the_jacobian_is_the_papers(layout):
    z = random(4, 12, 0.5).requires_grad_()
    weights = random(4, 12, 1.0, key=1)
    (gradient,) = torch.autograd.grad((ops.sparsemax(stored(z, layout)).to_dense() * weights).sum(), z)
    for row in range(4):
        s = (by_sorting(z.detach())[row] > 0).double()
        jacobian = torch.diag(s) - torch.outer(s, s) / s.sum()
        torch.testing.assert_close(gradient[row], jacobian @ weights[row])


@pytest.mark.parametrize("layout", ["dense", "csr"])
@pytest.mark.parametrize("scale", [0.002, 0.02, 8.0], ids=["nearly all", "many", "few"])
@pytest.mark.parametrize("some", [False, True])
def test_products_are_selected_where_the_whole_row_has_support(layout, scale, some):
    x, encoder = random(9, 6, 0.5), random(300, 6, 0.5, key=1)
    among = torch.arange(300) % 3 == 0 if some else None
    table = x @ encoder.T
    p = by_sorting(scale * table if among is None else (scale * table).masked_fill(~among, -1e9))
    with forced(crossover=1.0 if layout == "csr" else 0.0):
        u = ops.select_sparsemax(x, encoder, scale, among)
    torch.testing.assert_close(u.to_dense(), table * (p > 0))
    torch.testing.assert_close(ops.sparsemax(u.with_values(scale * u.values)).to_dense(), p)
    assert scale > 1 or float((p > 0).sum(1).double().max()) > 64, "more than the first candidates must occur"


def test_gradients_of_what_is_selected_are_those_of_the_products():
    x, encoder = random(9, 6, 0.5).requires_grad_(), random(300, 6, 0.5, key=1).requires_grad_()
    with forced(crossover=1.0):
        u = ops.select_sparsemax(x, encoder, 4.0)
    mask = by_sorting((4 * x @ encoder.T).detach()) > 0
    ours = torch.autograd.grad(u.values.square().sum(), (x, encoder))
    theirs = torch.autograd.grad((x @ encoder.T * mask).square().sum(), (x, encoder))
    torch.testing.assert_close(ours, theirs)


def test_silent_rows_no_rows_and_nobody_allowed():
    encoder = random(200, 6, 0.5)
    for x in (encoder.new_zeros(3, 6), encoder.new_zeros(0, 6)):
        u = ops.select_sparsemax(x, encoder, 2.0)
        p = ops.sparsemax(u.with_values(2 * u.values)).to_dense()
        torch.testing.assert_close(p, torch.full((len(x), 200), 1 / 200, dtype=torch.float64))
    nobody = ops.select_sparsemax(random(3, 6, 0.5, key=2), encoder, 2.0, torch.zeros(200, dtype=torch.bool))
    assert not nobody.to_dense().any()
