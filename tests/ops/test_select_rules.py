"""Selections between two bounds, across the batch and by groups, on every path: values and gradients against plain dense autograd."""

from __future__ import annotations

import math

import pytest
import torch

from assay.codes import CsrSupport, DenseSupport
from assay.ops import (
    forced,
    select,
    select_batch_top_k,
    select_group_top_k,
    select_outside,
    select_positive,
    select_top_k,
)

ROWS, LATENTS, WIDTH = 53, 60, 7
PATHS = {"kernels": 1.0, "portable": 1.0, "dense": 0.0}


@pytest.fixture(params=PATHS)
def path(request):
    with forced(request.param, crossover=PATHS[request.param]):
        yield request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def problem(request):
    """x, encoder, center, which take gradients, and a bias."""
    generator = torch.Generator().manual_seed(1)
    shapes = (ROWS, WIDTH), (LATENTS, WIDTH), (WIDTH,), (LATENTS,)
    x, encoder, center, bias = (torch.randn(shape, generator=generator).to(request.param) for shape in shapes)
    return x.requires_grad_(), encoder.requires_grad_(), center.requires_grad_(), bias


def plain(problem, choose):
    """Products where `choose` says so of the products and of the pre-activations."""
    x, encoder, center, bias = problem
    product = (x - center) @ encoder.T
    return torch.where(choose(product, product + bias), product, 0)


def largest_of_batch(number):
    """The `number` largest positive, of ties the first in row order."""

    def choose(_, ranks):
        flat = ranks.flatten()
        best = flat.argsort(dim=0, descending=True, stable=True)[:number]
        return (torch.zeros_like(flat, dtype=torch.bool).index_fill(0, best, True) & (flat > 0)).view_as(ranks)

    return choose


def largest_groups(k, size):
    def choose(_, ranks):
        power = ranks.unflatten(1, (-1, size)).square().sum(-1)
        groups = power.argsort(dim=1, descending=True, stable=True)[:, :k]
        return torch.zeros_like(power, dtype=torch.bool).scatter(1, groups, True).repeat_interleave(size, dim=1)

    return choose


def agree(codes, expected, problem):
    """Values and gradients to x, encoder and center are those of the dense table."""
    leaves = problem[:3]
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)).to(expected)
    table = codes.to_dense()
    assert table.dtype == expected.dtype
    assert torch.equal(table != 0, expected != 0)
    torch.testing.assert_close(table, expected)
    got = torch.autograd.grad((table * weights).sum(), leaves)
    plain_gradients = torch.autograd.grad((expected * weights).sum(), leaves)
    for ours, theirs in zip(got, plain_gradients, strict=True):
        rounding = 1e-5 if ours.dtype == torch.float32 else 1e-12
        torch.testing.assert_close(ours, theirs, rtol=0, atol=rounding * float(theirs.abs().max()))


def layout_of(path):
    return DenseSupport if path == "dense" else CsrSupport


BOUNDS = {
    "two-sided": (2.0, -1.5),
    "above alone": (1.0, -math.inf),
    "below alone": (math.inf, -1.0),
    "overlapping": (-1.0, 1.0),
    "everything": (-math.inf, -math.inf),
    "nothing": (math.inf, -math.inf),
}


@pytest.mark.parametrize(("high", "low"), BOUNDS.values(), ids=BOUNDS)
def test_outside_is_the_plain_product_beyond_its_bounds(path, problem, high, low):
    x, encoder, center, bias = problem
    high, low = bias + high, bias + low
    expected = plain(problem, lambda product, _: (product > high) | (product < low))
    codes = select_outside(x, encoder, high, low, center)
    assert isinstance(codes.support, layout_of(path))
    agree(codes, expected, problem)


def test_bounds_choose_and_take_no_gradient(path, problem):
    x, encoder, center, bias = problem
    high, low = (bias + 1).requires_grad_(), (bias - 2).requires_grad_()
    codes = select_outside(x, encoder, high, low, center)
    assert torch.autograd.grad(codes.values.sum(), [high, low], allow_unused=True) == (None, None)


def test_bounds_that_differ_by_latent_and_are_infinite_for_some(path, problem):
    x, encoder, center, bias = problem
    high = torch.where(torch.arange(LATENTS) % 3 == 0, math.inf, bias)
    low = torch.where(torch.arange(LATENTS) % 3 == 1, -math.inf, bias - 1)
    expected = plain(problem, lambda product, _: (product > high) | (product < low))
    agree(select_outside(x, encoder, high, low, center), expected, problem)


@pytest.mark.parametrize("k", [1, 3, 20, LATENTS, LATENTS + 5])
def test_batch_top_k_is_the_largest_positive_of_the_batch(path, problem, k):
    x, encoder, center, bias = problem
    codes = select_batch_top_k(x, encoder, bias, k, center)
    agree(codes, plain(problem, largest_of_batch(k * ROWS)), problem)
    if k <= 20:
        assert int(codes.l0().sum()) == k * ROWS
        assert codes.l0().unique().numel() > 1


def test_a_batch_with_fewer_positive_than_wanted_keeps_those(path, problem):
    x, encoder, center, bias = problem
    low = bias - 6
    expected = plain((x, encoder, center, low), largest_of_batch(5 * ROWS))
    codes = select_batch_top_k(x, encoder, low, 5, center)
    assert 0 < int(codes.l0().sum()) < 5 * ROWS
    agree(codes, expected, problem)


def test_a_batch_with_nothing_positive_is_empty(path, problem):
    x, encoder, center, bias = problem
    codes = select_batch_top_k(x, encoder, bias - 1e6, 5, center)
    assert int(codes.l0().sum()) == 0
    gradients = torch.autograd.grad(codes.values.sum(), problem[:3])
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("factor", [1e-3, 0.3, 5.0, 1e3], ids="the first 32 rows are {} as large".format)
def test_a_level_guessed_from_rows_unlike_the_rest_is_made_exact(path, problem, factor):
    x, encoder, center, bias = problem
    with torch.no_grad():
        x[:32] = center + (x[:32] - center) * factor
    expected = plain((x, encoder, center, bias / 9), largest_of_batch(4 * ROWS))
    agree(select_batch_top_k(x, encoder, bias / 9, 4, center), expected, problem)


@pytest.mark.parametrize(("factor", "products"), [(1.0, 1), (1e-3, 1), (1e3, 3)], ids=["alike", "tiny", "huge"])
def test_the_encoder_product_is_made_again_only_when_the_guess_kept_too_few(problem, monkeypatch, factor, products):
    x, encoder, center, bias = problem
    with torch.no_grad():
        monkeypatch.setattr(select, "SAMPLE", 8)
        sample = slice(None, None, ROWS // select.SAMPLE)
        x[sample] = center + (x[sample] - center) * factor
    made, outside = [], select._outside
    monkeypatch.setattr(select, "_outside", lambda *arguments: made.append(1) or outside(*arguments))
    with forced("portable", crossover=1.0):
        select_batch_top_k(x, encoder, bias / 9, 4, center)
    assert len(made) == products


@pytest.mark.parametrize("silent", [1, 31, 32, 50])
def test_first_rows_that_are_silent_guess_level_zero(path, problem, silent):
    x, encoder, center, bias = problem
    with torch.no_grad():
        x[:silent] = center
    below = -bias.abs() - 0.5
    expected = plain((x, encoder, center, below), largest_of_batch(2 * ROWS))
    codes = select_batch_top_k(x, encoder, below, 2, center)
    assert not codes.l0()[:silent].any()
    agree(codes, expected, problem)


@pytest.mark.parametrize("rows", [1, 5, 32, 33])
def test_a_batch_of_any_size_is_served(path, problem, rows):
    x, encoder, center, bias = problem
    expected = plain((x[:rows], encoder, center, bias), largest_of_batch(4 * rows))
    agree(select_batch_top_k(x[:rows], encoder, bias, 4, center), expected, problem)


@pytest.mark.parametrize("rule", [select_batch_top_k, select_top_k], ids=["batch", "row"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_no_rows_choose_nothing(path, rule, dtype):
    x, encoder = torch.zeros(0, WIDTH, dtype=dtype), torch.ones(LATENTS, WIDTH, dtype=dtype, requires_grad=True)
    codes = rule(x, encoder, torch.zeros(LATENTS, dtype=dtype), 3)
    assert codes.to_dense().shape == (0, LATENTS)
    codes.values.sum().backward()
    assert not encoder.grad.any()


def whole_numbers(dtype):
    generator = torch.Generator().manual_seed(3)
    shapes = (ROWS, WIDTH), (LATENTS, WIDTH), (WIDTH,), (LATENTS,)
    numbers = [torch.randint(-2, 3, shape, generator=generator).to(dtype) for shape in shapes]
    return *(each.requires_grad_() for each in numbers[:3]), numbers[3]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("k", [1, 2, 7, 23])
def test_of_ties_at_the_last_place_the_first_rows_are_kept(path, dtype, k):
    problem = whole_numbers(dtype)
    x, encoder, center, bias = problem
    chosen = largest_of_batch(k * ROWS)
    ranks = (x - center) @ encoder.T + bias
    kept = chosen(None, ranks)
    assert (ranks[~kept] == ranks[kept].min()).any(), "there is a tie at the last place"
    codes = select_batch_top_k(x, encoder, bias, k, center)
    assert int(codes.l0().sum()) == int((kept & ((x - center) @ encoder.T != 0)).sum())
    agree(codes, plain(problem, chosen), problem)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_batch_of_nothing_but_ties_keeps_exactly_k_a_row_on_average(path, dtype):
    x, encoder = torch.ones(ROWS, WIDTH, dtype=dtype), torch.ones(LATENTS, WIDTH, dtype=dtype)
    codes = select_batch_top_k(x, encoder, torch.zeros(LATENTS, dtype=dtype), 3)
    assert int(codes.l0().sum()) == 3 * ROWS


@pytest.mark.parametrize("path", ["kernels", "portable"])
def test_a_batch_that_wants_more_than_the_crossover_goes_dense(problem, path):
    x, encoder, center, bias = problem
    for crossover, layout in ((0.05, DenseSupport), (0.9, CsrSupport)):
        expected = plain(problem, largest_of_batch(10 * ROWS))
        with forced(path, crossover=crossover):
            codes = select_batch_top_k(x, encoder, bias, 10, center)
        assert isinstance(codes.support, layout)
        agree(codes, expected, problem)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("k", [1, 3, 200])
def test_group_top_k_is_the_groups_of_the_largest_norm(path, problem, k, size):
    x, encoder, center, bias = problem
    codes = select_group_top_k(x, encoder, bias, k, size, center)
    assert codes.l0().tolist() == [float(min(k * size, LATENTS))] * ROWS
    agree(codes, plain(problem, largest_groups(k, size)), problem)


def test_groups_of_one_are_the_largest_magnitudes(path, problem):
    x, encoder, center, bias = problem
    expected = plain(problem, lambda _, ranks: ranks.abs() >= ranks.abs().topk(4).values[:, -1:])
    agree(select_group_top_k(x, encoder, bias, 4, 1, center), expected, problem)


def test_no_center_is_a_center_of_zero(path, problem):
    x, encoder, center, bias = problem
    for rule, arguments in (
        (select_outside, (bias, bias - 2)),
        (select_positive, (bias,)),
        (select_batch_top_k, (bias, 3)),
        (select_top_k, (bias, 3)),
        (select_group_top_k, (bias, 2, 2)),
    ):
        without, with_zero = (rule(x, encoder, *arguments, center=c) for c in (None, torch.zeros_like(center)))
        assert torch.equal(with_zero.to_dense(), without.to_dense())


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_a_row_that_is_not_finite_leaves_the_others_alone_where_rows_choose_for_themselves(path, problem, spoil):
    x, encoder, center, bias = (each.detach() for each in problem)
    spoilt = x.clone()
    spoilt[3] = spoil
    others = torch.arange(ROWS) != 3
    rules = [
        lambda x: select_outside(x, encoder, bias + 1, bias - 2, center),
        lambda x: select_top_k(x, encoder, bias, 4, None, center),
        lambda x: select_group_top_k(x, encoder, bias, 4, 2, center),
    ]
    for rule in rules:
        torch.testing.assert_close(rule(spoilt).to_dense()[others], rule(x).to_dense()[others])
