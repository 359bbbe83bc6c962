"""Sparse codes: two layouts, one behaviour."""

from __future__ import annotations

import pytest
import torch

from assay.codes import CsrSupport, DenseSupport, SparseCodes
from assay.errors import ShapeMismatch

TABLE = torch.tensor([[0.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.5, 4.0]])


@pytest.fixture(params=["dense", "csr", "csr with stored zeros"])
def codes(request: pytest.FixtureRequest) -> SparseCodes:
    """The same codes in every layout."""
    if request.param == "dense":
        return SparseCodes.dense(TABLE)
    if request.param == "csr":
        return SparseCodes.dense(TABLE).to_csr()
    offsets, latents = torch.tensor([0, 3, 4, 8]), torch.tensor([0, 1, 3, 2, 0, 1, 2, 3])
    return SparseCodes.csr(offsets, latents, torch.tensor([0.0, 2.0, -1.0, 0.0, 3.0, 0.0, 0.5, 4.0]), 4)


def test_every_layout_is_the_same_table(codes):
    assert torch.equal(codes.to_dense(), TABLE)
    assert torch.equal(codes.to_csr().to_dense(), TABLE)
    assert (len(codes), codes.width) == (3, 4)


def test_zeros_are_not_active(codes):
    assert codes.l0().tolist() == [2.0, 0.0, 3.0]
    assert codes.firings().tolist() == [1.0, 1.0, 1.0, 2.0]


def test_entries_come_in_row_order_without_zeros(codes):
    rows, latents, values = codes.entries()
    assert rows.tolist() == [0, 0, 2, 2, 2]
    assert latents.tolist() == [1, 3, 0, 2, 3]
    assert values.tolist() == [2.0, -1.0, 3.0, 0.5, 4.0]


def test_csr_stores_active_entries_only(codes):
    csr = codes.to_csr()
    assert isinstance(csr.support, CsrSupport)
    assert csr.support.offsets.tolist() == [0, 2, 2, 5]
    assert csr.values.tolist() == [2.0, -1.0, 3.0, 0.5, 4.0]


@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_joined_codes_are_both_and_teach_both(codes, layout):
    more = torch.tensor([[5.0, 0.0, 0.0, 0.0], [0.0, 6.0, 7.0, 0.0], [0.0, 8.0, 0.0, 0.0]])
    other = SparseCodes.dense(more) if layout == "dense" else SparseCodes.dense(more).to_csr()
    values = codes.values.clone().requires_grad_(), other.values.clone().requires_grad_()
    joined = codes.with_values(values[0]).joined(other.with_values(values[1]))
    assert torch.equal(joined.to_dense(), TABLE + more)
    assert torch.equal(joined.to_csr().to_dense(), TABLE + more)
    weights = torch.arange(12.0).view(3, 4)
    (joined.to_dense() * weights).sum().backward()
    for gradient, part in zip((each.grad for each in values), (codes, other), strict=True):
        active = part.to_dense() != 0
        assert torch.equal(part.with_values(gradient).to_dense() * active, weights * active)


def test_sums_go_over_rows_and_over_latents(codes):
    assert codes.support.per_row(codes.values).tolist() == TABLE.sum(1).tolist()
    assert codes.support.per_latent(codes.values).tolist() == TABLE.sum(0).tolist()


def test_a_number_a_latent_spreads_over_the_entries(codes):
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    assert torch.equal(codes.with_values(codes.values * codes.spread(weights)).to_dense(), TABLE * weights)


def test_a_number_a_row_goes_along_the_entries(codes):
    weights = torch.tensor([1.0, 10.0, 100.0])
    along = codes.support.spread_rows(weights)
    assert torch.equal(codes.with_values(codes.values * along).to_dense(), TABLE * weights[:, None])


def test_new_values_stay_on_the_support(codes):
    ones = codes.with_values(torch.ones_like(codes.values))
    assert ones.support is codes.support
    outside = SparseCodes.dense(TABLE).to_dense() == 0
    if isinstance(codes.support, DenseSupport):
        assert not ones.to_dense()[outside].any()
    assert bool((ones.to_dense()[~outside] == 1).all())


def test_gradients_reach_the_values_through_every_conversion(codes):
    values = codes.values.clone().requires_grad_()
    weights = torch.arange(12.0).view(3, 4) + 1
    live = SparseCodes(values, codes.support)
    for table in (live.to_dense(), live.to_csr().to_dense()):
        (gradient,) = torch.autograd.grad((table * weights).sum(), values)
        found = codes.with_values(gradient)
        active = TABLE != 0
        assert torch.equal(found.to_dense()[active], weights[active])


def test_detached_codes_have_no_history():
    values = torch.ones(2, requires_grad=True)
    codes = SparseCodes.csr(torch.tensor([0, 1, 2]), torch.tensor([0, 1]), values * 2, 3)
    assert codes.values.requires_grad
    assert not codes.detach().values.requires_grad
    assert not codes.l0().requires_grad


def test_the_transpose_lists_entries_by_latent():
    codes = SparseCodes.dense(TABLE).to_csr()
    assert isinstance(codes.support, CsrSupport)
    starts, rows, order = codes.support.transpose
    assert starts.tolist() == [0, 1, 2, 3, 5]
    assert codes.support.indices[order].tolist() == [0, 1, 2, 3, 3]
    assert rows.tolist() == codes.support.rows[order].tolist() == [2, 0, 2, 0, 2]


@pytest.mark.parametrize("shape", [(0, 4), (3, 4)], ids=["no rows", "nothing active"])
def test_empty_codes_are_codes(shape):
    for codes in (SparseCodes.dense(torch.zeros(shape)), SparseCodes.dense(torch.zeros(shape)).to_csr()):
        assert codes.to_dense().shape == shape
        assert codes.l0().tolist() == [0.0] * shape[0]
        assert codes.firings().tolist() == [0.0] * 4
        assert [len(part) for part in codes.entries()] == [0, 0, 0]


def test_l0_is_exact_for_half_precision_codes():
    codes = SparseCodes.dense(torch.ones(1, 5000, dtype=torch.bfloat16))
    assert codes.l0().tolist() == [5000.0]
    assert codes.to_csr().l0().tolist() == [5000.0]


@pytest.mark.parametrize(
    ("offsets", "indices", "said"),
    [
        ([0, 1, 2], [0, 4], "0 to 3"),
        ([0, 1, 2], [-1, 0], "0 to 3"),
        ([0, 1, 3], [0, 1], "rise from 0"),
        ([1, 1, 2], [0, 1], "rise from 0"),
        ([0, 2, 1, 2], [0, 1], "rise from 0"),
        ([], [], "rise from 0"),
    ],
)
def test_entries_outside_the_table_are_refused(offsets, indices, said):
    where = torch.tensor(offsets, dtype=torch.int64), torch.tensor(indices, dtype=torch.int64)
    with pytest.raises(ShapeMismatch, match=said):
        SparseCodes.csr(*where, torch.ones(len(indices)), 4)


def test_a_penalty_is_the_mean_over_the_rows(codes):
    assert float(codes.mean_row_sum()) == pytest.approx(float(TABLE.sum()) / 3)
    assert float(codes.mean_row_sum(codes.values.abs())) == pytest.approx(float(TABLE.abs().sum()) / 3)


def test_the_least_positive_value_leaves_out_zeros_and_what_is_negative(codes):
    assert float(codes.least_positive()) == 0.5
    assert codes.with_values(-codes.values.abs()).least_positive().isinf()
