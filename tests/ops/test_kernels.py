"""The compiled kernels against `ops.portable` and the plain formula: whole numbers, so that equality is exact, ties included."""

from __future__ import annotations

import math

import pytest
import torch

from assay.codes import CsrSupport, offsets_of
from assay.ops import kernels, portable
from tests.ops.whole_numbers import csr, problem, product_of, same, whole

SHAPES = [(0, 5, 7), (1, 1, 1), (3, 50, 7), (67, 49, 19), (130, 97, 1), (65, 211, 576), (200, 16, 7)]
SHAPES_OF_CODES = [(0, 5, 7), (1, 1, 1), (17, 65, 7), (33, 130, 19), (50, 9, 576)]
MOST = [0, 5, 60, "each once"]


def strided(tensor):
    """The same numbers, every second place in memory."""
    spaced = torch.stack([tensor, tensor], -1)[..., 0]
    assert not spaced.is_contiguous() or spaced.numel() < 2
    return spaced


BOUNDS = {
    "above": lambda level: (level, torch.full_like(level, -math.inf)),
    "below": lambda level: (torch.full_like(level, math.inf), -level),
    "two-sided": lambda level: (level, -level - 1),
    "some never, some always": lambda level: (
        torch.where(level > 0, math.inf, -math.inf),
        torch.full_like(level, -math.inf),
    ),
    "nothing": lambda level: (torch.full_like(level, math.inf), torch.full_like(level, -math.inf)),
    "everything": lambda level: (torch.full_like(level, -math.inf), torch.full_like(level, math.inf)),
}


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outside_keeps_what_the_formula_keeps(shape, bounds):
    x, center, encoder = problem(*shape)
    high, low = bounds(whole(shape[1], key=3))
    table = product_of(x, center, encoder)
    mask = (table > high) | (table < low)
    number = int(mask.sum())
    entries = kernels.outside(x, center, encoder, high, low, number)
    same(entries, csr(mask, table))
    same(entries, portable.outside(x, center, encoder, high, low, number))
    if number:
        assert kernels.outside(x, center, encoder, high, low, number - 1) is None
    same(kernels.outside(x, center, encoder, high, low, number + 1000), entries)


def test_a_product_on_its_bound_is_not_outside():
    x, center, encoder = problem(67, 97, 19)
    table = product_of(x, center, encoder)
    high, low = table.amax(0).float(), table.amin(0).float()
    offsets, latents, _ = kernels.outside(x, center, encoder, high, low, x.shape[0] * 97)
    assert int(offsets[-1]) == len(latents) == 0
    kept = kernels.outside(x, center, encoder, high - 1, low + 1, x.shape[0] * 97)
    assert torch.equal(torch.bincount(kept[1], minlength=97), ((table == high) | (table == low)).sum(0))


def test_a_limit_far_below_what_fires_gives_nothing_and_leaves_the_next_call_whole():
    x, center, encoder = problem(300, 480, 7)
    everything = torch.full((480,), -math.inf), torch.full((480,), math.inf)
    assert kernels.outside(x, center, encoder, *everything, 10) is None
    table = product_of(x, center, encoder)
    same(kernels.outside(x, center, encoder, *everything, table.numel()), csr(table < math.inf, table))


@pytest.mark.parametrize("chunk", [1, 7, 67, 100])
def test_chunks_of_rows_change_nothing(monkeypatch, chunk):
    x, center, encoder = problem(67, 97, 19)
    high, low = whole(97, key=3) + 9, -whole(97, key=4) - 9
    whole_batch = kernels.outside(x, center, encoder, high, low, 67 * 97)
    number = len(whole_batch[1])
    monkeypatch.setattr(kernels, "CHUNK", chunk)
    same(kernels.outside(x, center, encoder, high, low, number), whole_batch)
    assert kernels.outside(x, center, encoder, high, low, number - 1) is None
    assert kernels.outside(x[:0], center, encoder, high, low, 0)[0].tolist() == [0]


def not_finite(rows=67, latents=97, width=7):
    x, center, encoder = problem(rows, latents, width)
    x[3], x[5], x[6, 0], x[64, 2] = math.nan, math.inf, -math.inf, math.nan
    encoder[50], encoder[96, 1], encoder[2] = math.nan, math.inf, 0
    return x, center, encoder


def test_rows_and_latents_that_are_not_finite_stay_alone_outside():
    x, center, encoder = not_finite()
    high, low = whole(97, key=3), -whole(97, key=3) - 1
    table = product_of(x, center, encoder)
    entries = kernels.outside(x, center, encoder, high, low, table.numel())
    same(entries, csr((table > high) | (table < low), table))
    assert (entries[0].diff()[[3, 64]] == 0).all(), "what is not a number is on neither side"
    assert entries[2].isinf().any()


def plain_top(table, bias, k):
    """The k largest of each row by a stable sort, so that ties go to the lowest latent; NaN and minus infinity are never among them."""
    ranks = table + bias
    best = ranks.nan_to_num(-math.inf, math.inf, -math.inf).argsort(dim=1, descending=True, stable=True)[:, :k]
    mask = torch.zeros_like(ranks, dtype=torch.bool).scatter_(1, best, True) & (ranks > -math.inf)
    return csr(mask, table)


def fractions(latents):
    """Biases that tell all latents apart and leave sums exact."""
    return torch.arange(latents).float().flip(0) / 1024


@pytest.mark.parametrize("k", [1, 4, "all"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_top_keeps_the_largest_of_each_row(shape, k):
    x, center, encoder = problem(*shape)
    k = shape[1] if k == "all" else min(k, shape[1])
    table = product_of(x, center, encoder)
    ties = whole(shape[1], key=3)
    same(kernels.top(x, center, encoder, ties, k), plain_top(table, ties, k))
    apart = fractions(shape[1])
    entries = kernels.top(x, center, encoder, apart, k)
    same(entries, plain_top(table, apart, k))
    same(entries, portable.top(x, center, encoder, apart, k))


ORDERS = {
    "rising": torch.arange(2000),
    "falling": torch.arange(2000).flip(0),
    "shuffled": torch.randperm(2000, generator=torch.Generator().manual_seed(4)),
    "all tied": torch.zeros(2000),
    "few values": torch.arange(2000) % 7,
    "two flat halves": torch.arange(2000) // 1000,
}


@pytest.mark.parametrize("k", [1, 3, 255, 300, 1999])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_top_survives_buffers_that_overflow(order, k):
    encoder = order.float()[:, None]
    x = torch.tensor([[1.0], [-1.0], [0.0]]).repeat(45, 1)[:133]
    for bias in (torch.zeros(2000), whole(2000, key=5)):
        table = product_of(x, torch.zeros(1), encoder)
        same(kernels.top(x, torch.zeros(1), encoder, bias, k), plain_top(table, bias, k))


@pytest.mark.parametrize("k", [1, 20, 97])
def test_top_leaves_out_what_is_not_a_number_and_what_is_minus_infinity(k):
    x, center, encoder = not_finite()
    bias = whole(97, key=3)
    bias[::4] = -math.inf
    table = product_of(x, center, encoder)
    entries = kernels.top(x, center, encoder, bias, k)
    same(entries, plain_top(table, bias, k))
    held = entries[0].diff()
    assert held[3] == held[64] == 0
    assert k < 97 or 0 < held.max() < 97, "fewer than k where there are fewer"


def test_top_among_no_latents_and_of_no_places_is_empty():
    x, center, encoder = problem(9, 20, 7)
    for latents, k in ((0, 0), (20, 0)):
        offsets, indices, products = kernels.top(x, center, encoder[:latents], torch.zeros(latents), k)
        assert offsets.tolist() == [0] * 10
        assert len(indices) == len(products) == 0


def codes(rows, latents, key=6, most=5):
    """A support whose rows hold up to `most` latents, unsorted and some twice, and values for it; or each at most once."""
    generator = torch.Generator().manual_seed(key)
    if most == "each once":
        offsets, indices, _ = csr(torch.rand(rows, latents, generator=generator) < 0.4, torch.zeros(rows, latents))
        return CsrSupport(offsets, indices, latents, kernels.transpose), whole(len(indices), key=key + 1)
    counts = torch.randint(0, most + 1, (rows,), generator=generator)
    indices = torch.randint(0, latents, (int(counts.sum()),), generator=generator)
    support = CsrSupport(offsets_of(counts), indices, latents, kernels.transpose)
    return support, whole(len(indices), key=key + 1)


def table_of(support, values):
    table = torch.zeros(len(support), support.width, dtype=torch.float64)
    return table.index_put((support.rows, support.indices), values.double(), accumulate=True)


@pytest.mark.parametrize("most", MOST)
@pytest.mark.parametrize("shape", SHAPES_OF_CODES, ids=str)
def test_passes_are_those_of_the_dense_matrix(shape, most):
    rows, latents, width = shape
    support, values = codes(rows, latents, most=most)
    other_values = whole(len(values), key=8)
    left, other_left, right = whole(rows, width), whole(rows, width, key=9), whole(latents, width, key=10)
    table, other = table_of(support, values), table_of(support, other_values)
    at = support.rows, support.indices
    decoded, by_latent = (table @ right.double()).float(), (table.T @ left.double()).float()
    along, other_along = ((each.double() @ right.double().T).float()[at] for each in (left, other_left))
    pair = decoded, (other @ right.double()).float()
    for module in (kernels, portable):
        same([module.times(support, values, right)], [decoded])
        same(module.times_pair(support, values, other_values, right), pair)
        same([module.transpose_times(support, values, left)], [by_latent])
        if module is kernels or most == "each once":  # PyTorch's sampled product refuses crowds of one entry
            same([module.dots(support, left, right)], [along])
            same(module.dots_pair(support, left, other_left, right), (along, other_along))
    same([portable.gathered_dots(support, left, right)], [along])
    same([kernels.sum_by_latent(support, values)], [table.sum(0).float()])
    same([kernels.sum_by_latent(support, values)], [support.per_latent(values)])


@pytest.mark.parametrize("shape", SHAPES_OF_CODES, ids=str)
@pytest.mark.parametrize("most", MOST)
def test_transpose_sorts_by_latent_with_rows_and_places_rising(shape, most):
    support, _ = codes(*shape[:2], most=most)
    starts, rows, order = kernels.transpose(support.offsets, support.indices, support.width)
    same((starts, rows, order), portable.transpose(support.offsets, support.indices, support.width))
    same([support.rows[order], starts.diff()], [rows, torch.bincount(support.indices, minlength=support.width)])


def test_numbers_that_are_not_finite_stay_where_they_are():
    support, values = codes(33, 70)
    left, right = whole(33, 19), whole(70, 19, key=10)
    clean = kernels.times(support, values, right), kernels.transpose_times(support, values, left)
    clean_dots = kernels.dots(support, left, right)
    values[4], left[7], right[9, 3] = math.nan, math.inf, math.nan
    row, latent = support.rows[4], support.indices[4]
    touched = table_of(support, torch.ones_like(values))
    by_row, by_latent = touched[:, 9] > 0, touched[7] > 0
    by_row[row], by_latent[latent] = True, True
    same([kernels.times(support, values, right)[~by_row]], [clean[0][~by_row]])
    same([kernels.transpose_times(support, values, left)[~by_latent]], [clean[1][~by_latent]])
    apart = (support.rows != 7) & (support.indices != 9)
    same([kernels.dots(support, left, right)[apart]], [clean_dots[apart]])
    assert kernels.times(support, values, right)[row].isnan().all()
    assert not kernels.transpose_times(support, values, left)[by_latent].isfinite().all()


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_inputs_in_any_memory_layout_give_the_same_bits(number):
    x, center, encoder = problem(67, 49, 19)
    high, low, bias = whole(49, key=3), -whole(49, key=4) - 9, fractions(49) * number
    support, values = codes(67, 49)
    others, left = whole(len(values), key=8), whole(67, 19, key=9)
    cases = [
        (lambda *t: kernels.outside(*t, 67 * 49), (x, center, encoder, high, low)),
        (lambda *t: kernels.top(*t, 5), (x, center, encoder, bias)),
        (lambda *t: [kernels.times(support, *t)], (values, encoder)),
        (lambda *t: kernels.times_pair(support, *t), (values, others, encoder)),
        (lambda *t: [kernels.transpose_times(support, *t)], (values, x)),
        (lambda *t: [kernels.sum_by_latent(support, *t)], (values,)),
        (lambda *t: [kernels.dots(support, *t)], (x, encoder)),
        (lambda *t: kernels.dots_pair(support, *t), (x, left, encoder)),
    ]
    for run, tensors in cases:
        same(run(*map(strided, tensors)), run(*tensors))
        same(run(*(t.T.contiguous().T if t.ndim == 2 else t for t in tensors)), run(*tensors))


def test_a_support_in_any_memory_layout_gives_the_same_bits():
    support, values = codes(67, 49)
    spread = CsrSupport(strided(support.offsets), strided(support.indices), 49, kernels.transpose)
    x, encoder = whole(67, 19), whole(49, 19, key=2)
    for module in (portable, kernels):
        same([module.times(spread, values, encoder)], [kernels.times(support, values, encoder)])
        same([module.dots(spread, x, encoder)], [kernels.dots(support, x, encoder)])
        same([module.transpose_times(spread, values, x)], [kernels.transpose_times(support, values, x)])


def everything(threads):
    """All kernels on rounded sums, where another order of addition would show."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(11)
    x, encoder = torch.randn(301, 19, generator=generator), torch.randn(499, 19, generator=generator)
    center, bias = torch.randn(19, generator=generator), torch.randn(499, generator=generator)
    chosen = kernels.outside(x, center, encoder, bias + 3, bias - 9, 301 * 499)
    support = CsrSupport(chosen[0], chosen[1], 499, kernels.transpose)
    values, matrix = chosen[2], torch.randn(301, 19, generator=generator)
    parameter, square, mean = encoder.clone(), torch.zeros_like(encoder), torch.zeros_like(encoder)
    settings = {"rate": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 1, "unit": True}
    kernels.adam_rows(parameter, encoder, support.transpose, values, matrix, square, mean, **settings)
    return [
        *chosen,
        *kernels.top(x, center, encoder, bias, 40),
        kernels.times(support, values, encoder),
        *kernels.times_pair(support, values, values.exp(), encoder),
        kernels.dots(support, matrix, encoder),
        *kernels.dots_pair(support, matrix, x, encoder),
        kernels.transpose_times(support, values, matrix),
        kernels.sum_by_latent(support, values),
        *support.transpose,
        *(parameter, square, mean),
    ]


def test_the_number_of_threads_changes_no_bit():
    alone = everything(1)
    assert len(alone[1]) > 5000
    for _ in range(5):
        same(everything(2), alone)


def gradient_of_step(step, latents, width, table):
    """Factors, and a table or none: latents above 60 and one in seven never fire, the rest now and then."""
    support, values = codes(40, min(latents, 60), key=100 + step)
    indices = torch.where(support.indices % 7 == 0, (support.indices + 1) % min(latents, 60), support.indices)
    support = CsrSupport(support.offsets, indices, latents, kernels.transpose)
    matrix = whole(40, width, key=200 + step)
    return support, values, matrix, whole(latents, width, key=step) if table else None


@pytest.mark.parametrize("unit", [False, True], ids=["free", "unit"])
@pytest.mark.parametrize("table", [False, True], ids=["factors alone", "and a table"])
@pytest.mark.parametrize("beta1", [0.0, 0.9])
@pytest.mark.parametrize(("latents", "width"), [(130, 19), (65, 1), (3, 576)])
def test_adam_rows_is_torchs_adam_between_projection_and_renormalisation(latents, width, beta1, table, unit):
    start = torch.randn(latents, width, generator=torch.Generator().manual_seed(12))
    start = start / start.norm(dim=1, keepdim=True)
    parameter, square = start.clone(), torch.zeros_like(start)
    mean = torch.zeros_like(start) if beta1 else None
    reference = torch.nn.Parameter(start.double())
    plain = torch.optim.Adam([reference], lr=0.01, betas=(beta1, 0.99), eps=1e-3)
    settings = {"rate": 0.01, "beta1": beta1, "beta2": 0.99, "eps": 1e-3, "unit": unit}
    for step in range(1, 21):
        support, values, matrix, more = gradient_of_step(step, latents, width, table)
        kernels.adam_rows(parameter, more, support.transpose, values, matrix, square, mean, step=step, **settings)
        gradient = table_of(support, values).T @ matrix.double() + (0 if more is None else more.double())
        along = (gradient * reference.detach()).sum(1, keepdim=True) if unit else 0
        reference.grad = gradient - along * reference.detach()
        plain.step()
        if unit:
            with torch.no_grad():
                reference /= reference.norm(dim=1, keepdim=True)
    assert not torch.equal(parameter, start) or (unit and width == 1)
    state = plain.state[reference]
    for ours, theirs in ((parameter, reference), (square, state["exp_avg_sq"]), (mean, state["exp_avg"])):
        if ours is not None:
            scale = float(theirs.detach().abs().max())
            torch.testing.assert_close(ours.double(), theirs.detach(), rtol=1e-5, atol=2e-6 * scale)


def test_adam_rows_keeps_what_is_not_a_number_in_its_row():
    spoilt, clean = [], []
    for kept, broken in ((clean, False), (spoilt, True)):
        support, values, matrix, _ = gradient_of_step(1, 70, 19, False)
        if broken:
            values[support.indices == 3] = math.nan
            matrix[support.rows[support.indices == 5]] = math.inf
        parameter, square = whole(70, 19).add_(0.5), torch.zeros(70, 19)
        entries = support.transpose, values, matrix, square, None
        settings = {"rate": 0.1, "beta1": 0.0, "beta2": 0.9, "eps": 1e-8, "step": 1, "unit": True}
        kernels.adam_rows(parameter, None, *entries, **settings)
        kept += [parameter, square]
    touched = table_of(support, torch.ones_like(values))
    apart = ~(touched[touched[:, 5] > 0] > 0).any(0)
    apart[3] = False
    assert apart.sum() > 20
    assert spoilt[0][3].isnan().all()
    same([each[apart] for each in spoilt], [each[apart] for each in clean])
