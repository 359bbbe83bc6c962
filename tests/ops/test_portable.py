"""The sparse products in PyTorch alone and decode, against dense matrices."""

from __future__ import annotations

import pytest
import torch

from assay import ops
from assay.codes import CsrSupport, SparseCodes
from assay.ops import portable


def random_codes(density: float, dtype: torch.dtype = torch.float64) -> SparseCodes:
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(9, 13, generator=generator, dtype=dtype)
    table[torch.rand(9, 13, generator=generator) >= density] = 0
    return SparseCodes.dense(table).to_csr()


@pytest.fixture(params=[0.0, 0.1, 0.5, 1.0])
def codes(request) -> SparseCodes:
    return random_codes(request.param)


@pytest.fixture
def matrices():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(9, 5, generator=generator).double(), torch.randn(13, 5, generator=generator).double()


def test_products_are_those_of_the_dense_matrix(codes, matrices):
    rows, atoms = matrices
    assert isinstance(codes.support, CsrSupport)
    table = codes.to_dense()
    torch.testing.assert_close(portable.times(codes.support, codes.values, atoms), table @ atoms)
    torch.testing.assert_close(portable.transpose_times(codes.support, codes.values, rows), table.T @ rows)
    on_support = (rows @ atoms.T)[table != 0]
    torch.testing.assert_close(portable.dots(codes.support, rows, atoms), on_support)
    torch.testing.assert_close(portable.gathered_dots(codes.support, rows, atoms), on_support)


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_chunks_leave_the_dots_alone(matrices, monkeypatch, chunk):
    monkeypatch.setattr(portable, "CHUNK", chunk)
    support = random_codes(0.5).support
    assert isinstance(support, CsrSupport)
    torch.testing.assert_close(portable.gathered_dots(support, *matrices), portable.dots(support, *matrices))


def test_decode_and_its_gradients_are_those_of_a_matrix_product(codes, matrices):
    rows, atoms = matrices
    atoms.requires_grad_()
    values = codes.values.clone().requires_grad_()
    live = SparseCodes(values, codes.support)
    table = live.to_dense().detach().requires_grad_()
    got = torch.autograd.grad((ops.decode(live, atoms) * rows).sum(), [values, atoms])
    expected = torch.autograd.grad((table @ atoms * rows).sum(), [table, atoms])
    torch.testing.assert_close(ops.decode(live, atoms), table @ atoms)
    torch.testing.assert_close(got[0], expected[0][table != 0])
    torch.testing.assert_close(got[1], expected[1])


def test_second_derivatives_are_refused_rather_than_wrong(matrices):
    codes = random_codes(0.5)
    values, atoms = codes.values.clone().requires_grad_(), matrices[1].requires_grad_()
    decoded = ops.decode(SparseCodes(values, codes.support), atoms)
    (gradient,) = torch.autograd.grad(decoded.square().sum(), atoms, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_decode_of_a_dense_table_is_the_matrix_product(codes, matrices):
    table = codes.to_dense()
    torch.testing.assert_close(ops.decode(SparseCodes.dense(table), matrices[1]), table @ matrices[1])


def test_decode_gives_only_the_gradients_asked_for(matrices):
    codes = random_codes(0.5)
    frozen = ops.decode(SparseCodes(codes.values.clone().requires_grad_(), codes.support), matrices[1])
    frozen.sum().backward()
    assert matrices[1].grad is None


def test_entries_in_any_order_decode_alike(matrices):
    codes = SparseCodes.csr(torch.tensor([0, 3, 5]), torch.tensor([9, 0, 4, 12, 1]), torch.ones(5).double(), 13)
    assert isinstance(codes.support, CsrSupport)
    rows, atoms = matrices[0][:2], matrices[1]
    torch.testing.assert_close(ops.decode(codes, atoms), codes.to_dense() @ atoms)
    torch.testing.assert_close(
        portable.dots(codes.support, rows, atoms), portable.gathered_dots(codes.support, rows, atoms)
    )


def test_float32_dots_stay_accurate():
    codes = random_codes(0.5, torch.float32)
    assert isinstance(codes.support, CsrSupport)
    left, right = torch.randn(9, 300), torch.randn(13, 300)
    exact = portable.gathered_dots(codes.support, left.double(), right.double())
    torch.testing.assert_close(portable.dots(codes.support, left, right).double(), exact, rtol=1e-4, atol=1e-4)


def test_squared_error_sums_over_the_width_and_averages_over_rows():
    error = ops.squared_error(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0]]))
    assert error.item() == (1 + 4 + 16) / 2
