"""The encoder product on a chosen support, against the plain formula."""

from __future__ import annotations

import pytest
import torch

from assay.codes import CsrSupport, DenseSupport
from assay.ops import forced, portable, products_on, select_positive, select_top_k

ROWS, LATENTS, WIDTH = 37, 50, 6


@pytest.fixture(autouse=True)
def codes_stay_sparse():
    with forced(crossover=1.0):
        yield


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    encoder = torch.randn(LATENTS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(LATENTS, generator=generator, dtype=torch.float64, requires_grad=True)
    return x, encoder, bias


@pytest.fixture(params=[1, LATENTS, 7 * LATENTS, 1 << 21], ids=["less than a row", "a row", "7 rows", "all"])
def tile(request, monkeypatch):
    monkeypatch.setattr(portable, "TILE", request.param)
    return request.param


@pytest.mark.parametrize("crossover", [1.0, 0.0], ids=["csr", "dense"])
def test_positive_part_is_the_plain_product_on_its_support(problem, tile, crossover):
    x, encoder, bias = problem
    product = x @ encoder.T
    expected = torch.where(product + bias > 0, product, 0)
    with forced(crossover=crossover):
        codes = select_positive(x, encoder, bias)
    assert isinstance(codes.support, DenseSupport if crossover == 0 else CsrSupport)
    torch.testing.assert_close(codes.to_dense(), expected)
    weights = torch.randn(ROWS, LATENTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    got = torch.autograd.grad((codes.to_dense() * weights).sum(), [x, encoder])
    torch.testing.assert_close(got, torch.autograd.grad((expected * weights).sum(), [x, encoder]))
    assert torch.autograd.grad(codes.values.sum(), bias, allow_unused=True) == (None,)


@pytest.mark.parametrize("path", ["kernels", "portable"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("crossover", [1.0, 0.0], ids=["csr", "dense"])
def test_products_of_another_encoder_on_a_support_are_the_plain_ones(problem, path, dtype, crossover):
    x, encoder, bias = (tensor.detach().to(dtype).requires_grad_() for tensor in problem)
    other, center = (0.5 * encoder.detach().flip(0)).requires_grad_(), (0.1 * x.detach()[0]).requires_grad_()
    with forced(path, crossover=crossover):
        codes = products_on(select_positive(x, encoder, bias), x, other, center)
        expected = torch.where(x @ encoder.T + bias > 0, (x - center) @ other.T, 0)
        got = torch.autograd.grad(codes.to_dense().pow(3).sum(), [x, other, center])
    torch.testing.assert_close(codes.to_dense(), expected, rtol=1e-5, atol=1e-5)
    plain = torch.autograd.grad(expected.pow(3).sum(), [x, other, center])
    torch.testing.assert_close(got, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [1, 4, LATENTS, LATENTS + 9])
def test_top_k_is_the_largest_of_each_row(problem, tile, k):
    x, encoder, bias = problem
    product = x @ encoder.T
    chosen = torch.zeros(ROWS, LATENTS, dtype=torch.bool)
    chosen.scatter_(1, (product + bias).argsort(1, descending=True)[:, :k], True)
    codes = select_top_k(x, encoder, bias, k)
    expected = torch.where(chosen, product, 0)
    torch.testing.assert_close(codes.to_dense(), expected)
    got = torch.autograd.grad(codes.to_dense().square().sum(), [x, encoder])
    torch.testing.assert_close(got, torch.autograd.grad(expected.square().sum(), [x, encoder]))


def test_top_k_among_some_latents_ignores_the_rest(problem, tile):
    x, encoder, bias = problem
    among = torch.arange(LATENTS) % 5 == 2
    codes = select_top_k(x, encoder, bias, 3, among)
    _, latents, _ = codes.entries()
    assert codes.l0().tolist() == [3.0] * ROWS
    assert bool(among[latents].all())
    shifted = (x @ encoder.T + bias).masked_fill(~among, -torch.inf)
    expected = torch.zeros(ROWS, LATENTS, dtype=torch.bool).scatter_(1, shifted.topk(3).indices, True)
    assert torch.equal(codes.to_dense() != 0, expected)


def test_top_k_among_none_is_empty(problem):
    x, encoder, bias = problem
    codes = select_top_k(x, encoder, bias, 3, torch.zeros(LATENTS, dtype=torch.bool))
    assert codes.to_dense().abs().sum() == 0
    codes.values.sum().backward()
    assert not encoder.grad.any()


def test_ties_keep_exactly_k():
    codes = select_top_k(torch.ones(4, 2), torch.ones(6, 2), torch.zeros(6), 3)
    assert codes.l0().tolist() == [3.0] * 4


def test_indices_rise_within_each_row(problem):
    x, encoder, bias = problem
    for codes in (select_top_k(x, encoder, bias, 5), select_positive(x, encoder, bias - 4)):
        assert isinstance(codes.support, CsrSupport)
        for start, stop in zip(codes.support.offsets[:-1], codes.support.offsets[1:], strict=True):
            assert bool((codes.support.indices[start:stop].diff() > 0).all())


def test_density_chooses_the_layout(problem):
    x, encoder, _ = problem
    with forced():
        assert isinstance(select_positive(x, encoder, torch.zeros(LATENTS).double()).support, DenseSupport)
        assert isinstance(select_positive(x, encoder, torch.full((LATENTS,), -9.0).double()).support, CsrSupport)


def test_dense_rows_after_sparse_ones_are_kept(problem, monkeypatch):
    monkeypatch.setattr(portable, "TILE", 10 * LATENTS)
    x, encoder, bias = problem
    with torch.no_grad():
        x[:10] = 0
    bias = -bias.abs() - 0.1
    codes = select_positive(x, encoder, bias)
    product = x @ encoder.T
    assert isinstance(codes.support, CsrSupport)
    torch.testing.assert_close(codes.to_dense(), torch.where(product + bias > 0, product, 0))


def test_nothing_positive_is_an_empty_support_with_zero_gradients(problem):
    x, encoder, _ = problem
    codes = select_positive(x, encoder, torch.full((LATENTS,), -1e9, dtype=torch.float64))
    assert len(codes.values) == 0
    gradients = torch.autograd.grad(codes.values.sum(), [x, encoder])
    assert [float(gradient.abs().sum()) for gradient in gradients] == [0.0, 0.0]


def test_second_derivatives_are_refused_rather_than_wrong(problem):
    x, encoder, bias = problem
    (gradient,) = torch.autograd.grad(
        select_top_k(x, encoder, bias, 3).values.square().sum(), encoder, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_no_rows_give_no_codes(problem):
    _, encoder, bias = problem
    none = torch.zeros(0, WIDTH, dtype=torch.float64)
    for codes in (select_positive(none, encoder, bias), select_top_k(none, encoder, bias, 3)):
        assert codes.to_dense().shape == (0, LATENTS)


def test_a_row_that_is_not_a_number_stays_alone(problem):
    x, encoder, bias = problem
    spoilt = x.detach().clone()
    spoilt[3] = torch.nan
    clean, codes = select_positive(x, encoder, bias).to_dense(), select_positive(spoilt, encoder, bias).to_dense()
    others = torch.arange(ROWS) != 3
    torch.testing.assert_close(codes[others], clean[others])
