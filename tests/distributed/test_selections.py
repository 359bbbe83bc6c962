"""Choosing and decoding over several ranks, ties included, against the plain formulas on everything at once."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from assay import ops
from assay import ranks as across
from assay.codes import SparseCodes
from assay.errors import ShapeMismatch
from assay.training.parallel import Parallel

ROWS, LATENTS, WIDTH = 24, 40, 7
LAYOUTS = [
    pytest.param(2, 1, id="2 data ranks"),
    pytest.param(2, 2, id="2 shards"),
    pytest.param(4, 1, id="4 data ranks", marks=pytest.mark.four_ranks),
    pytest.param(4, 2, id="2 data ranks of 2 shards", marks=pytest.mark.four_ranks),
    pytest.param(4, 4, id="4 shards", marks=pytest.mark.four_ranks),
]
PATHS = {"kernels": (torch.float32, 1.0), "portable": (torch.float64, 1.0), "dense": (torch.float64, 0.0)}


def numbers(kind: str, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """x, encoder, center, bias; small whole numbers have exact products, many of them equal."""
    generator = torch.Generator().manual_seed(5)
    shapes = (ROWS, WIDTH), (LATENTS, WIDTH), (WIDTH,), (LATENTS,)
    if kind == "ties":
        drawn = (torch.randint(-2, 3, shape, generator=generator) for shape in shapes)
    else:
        drawn = (torch.randn(shape, generator=generator) for shape in shapes)
    return tuple(tensor.to(dtype) for tensor in drawn)


def first_largest(scores: torch.Tensor, k: int) -> torch.Tensor:
    """A mask of the k largest along the last dimension, of equal ones the first."""
    best = scores.argsort(dim=-1, descending=True, stable=True)[..., :k]
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True)


class Problem:
    """One selection on what this rank holds, and the plain one on everything."""

    def __init__(self, parallel: Parallel, kind: str, dtype: torch.dtype) -> None:
        self.parallel = parallel
        self.x, self.encoder, self.center, self.bias = numbers(kind, dtype)
        self.product = (self.x - self.center) @ self.encoder.T
        self.scores = self.product + self.bias

    def split(self, tensor: torch.Tensor) -> torch.Tensor:
        return across.split(tensor, self.parallel.latents) if self.parallel.latents else tensor.clone()

    def check(self, select, expected: torch.Tensor) -> None:
        """`select(x, encoder, bias, center)` has the values of `expected`, and the gradients of a weighted sum of it."""
        plain = [tensor.clone().requires_grad_() for tensor in (self.x, self.encoder, self.center)]
        weights = torch.randn(ROWS, LATENTS, generator=torch.Generator().manual_seed(2)).to(self.x)
        (torch.where(expected & (self.product != 0), (plain[0] - plain[2]) @ plain[1].T, 0) * weights).sum().backward()
        x, center = self.parallel.slice(self.x).clone().requires_grad_(), self.center.clone().requires_grad_()
        encoder = self.split(self.encoder).requires_grad_()
        with across.sharing_batch(self.parallel.parts):
            codes = select(x, encoder, self.split(self.bias), center)
        table = codes.to_dense()
        assert torch.equal(table != 0, self.parallel.slice(expected & (self.product != 0)))
        torch.testing.assert_close(table, self.parallel.slice(torch.where(expected, self.product, 0)))
        (table * self.parallel.slice(weights)).sum().backward()
        near = {"rtol": 0, "atol": 1e-4 if self.x.dtype == torch.float32 else 1e-10}
        torch.testing.assert_close(x.grad, self.parallel.slice(plain[0].grad), **near)
        for ours, theirs in ((across.whole(encoder.grad), plain[1].grad), (center.grad, plain[2].grad)):
            torch.testing.assert_close(self.parallel.parts.sum(ours) if self.parallel.parts else ours, theirs, **near)


def check_selections(shards: int, kind: str, path: str) -> None:
    dtype, crossover = PATHS[path]
    parallel = Parallel.of(shards, torch.device("cpu"))
    problem = Problem(parallel, kind, dtype)
    among = torch.arange(LATENTS) % 3 == 1
    with ops.forced(path, crossover=crossover):
        problem.check(ops.select_positive, problem.scores > 0)
        low = problem.bias - 3
        problem.check(
            lambda x, encoder, bias, center: ops.select_outside(x, encoder, bias + 2, bias - 3, center),
            (problem.product > problem.bias + 2) | (problem.product < low),
        )
        for k in (1, 5, LATENTS // 2, LATENTS + 3):
            problem.check(
                lambda x, encoder, bias, center, k=k: ops.select_top_k(x, encoder, bias, k, None, center),
                first_largest(problem.scores, k),
            )
            problem.check(
                lambda x, encoder, bias, center, k=k: ops.select_top_k(x, encoder, bias, k, among, center),
                first_largest(problem.scores.masked_fill(~among, -torch.inf), k) & among,
            )
            best = first_largest(problem.scores.flatten(), k * ROWS).view_as(problem.scores)
            problem.check(
                lambda x, encoder, bias, center, k=k: ops.select_batch_top_k(x, encoder, bias, k, center),
                best & (problem.scores > 0),
            )
        if kind != "ties":  # of equal groups any may be kept
            power = problem.scores.unflatten(1, (-1, 5)).square().sum(-1)
            problem.check(
                lambda x, encoder, bias, center: ops.select_group_top_k(x, encoder, bias, 3, 5, center),
                first_largest(power, 3).repeat_interleave(5, dim=1),
            )


@pytest.mark.parametrize(("world", "shards"), LAYOUTS)
def test_selections_are_those_of_one_process(together, world, shards):
    def work(rank):
        for path in PATHS:
            check_selections(shards, "random", path)
        check_selections(shards, "ties", "kernels")

    together(world, work)


def test_a_batch_with_fewer_positive_entries_than_places_keeps_them_all(together):
    def work(rank):
        parallel = Parallel.of(2, torch.device("cpu"))
        problem = Problem(parallel, "random", torch.float64)
        bias = torch.full((LATENTS,), -6.0, dtype=torch.float64)
        codes = ops.select_batch_top_k(problem.x, problem.split(problem.encoder), bias, 4, problem.center)
        assert torch.equal(codes.to_dense() != 0, problem.product - 6 > 0)
        assert 0 < codes.l0().sum() < 4 * ROWS

    together(2, work)


def test_ranks_of_different_density_agree_though_one_of_them_keeps_a_table(together):
    def work(rank):
        parallel = Parallel.of(2, torch.device("cpu"))
        problem = Problem(parallel, "random", torch.float64)
        bias = torch.where(torch.arange(LATENTS) < LATENTS // 2, 9.0, -2.0).double()
        with ops.forced("portable", crossover=0.5):
            codes = ops.select_positive(problem.x, problem.split(problem.encoder), bias, problem.center)
            ours = ops.decode(codes, problem.split(problem.encoder))
        assert type(codes.support).__name__ == ("DenseSupport" if rank == 0 else "CsrSupport")
        table = torch.where(problem.product + bias > 0, problem.product, 0)
        torch.testing.assert_close(ours, table @ problem.encoder)

    together(2, work)


def test_codes_of_a_shard_count_and_sum_over_all_latents(together):
    def work(rank):
        parallel = Parallel.of(2, torch.device("cpu"))
        problem = Problem(parallel, "random", torch.float64)
        codes = ops.select_positive(problem.x, problem.split(problem.encoder), problem.bias, problem.center)
        table = torch.where(problem.scores > 0, problem.product, 0)
        assert (len(codes), codes.width) == (ROWS, LATENTS)
        assert torch.equal(codes.l0(), (table != 0).sum(1).float())
        assert torch.equal(codes.firings(), (table != 0).sum(0).float())
        torch.testing.assert_close(codes.mean_row_sum(), table.sum() / ROWS)
        torch.testing.assert_close(codes.least_positive(), table[table > 0].min())
        weights = torch.arange(LATENTS).double()
        torch.testing.assert_close(codes.with_values(codes.values * codes.spread(weights)).to_dense(), table * weights)
        torch.testing.assert_close(codes.to_csr().to_dense(), table)
        rows, latents, values = codes.entries()
        torch.testing.assert_close(values, table[rows, latents])
        with pytest.raises(ShapeMismatch, match="all together"):
            ops.decode(SparseCodes.dense(table), problem.split(problem.encoder))

    together(2, work)


def test_groups_that_a_shard_would_cut_are_refused(together):
    def work(rank):
        problem = Problem(Parallel.of(2, torch.device("cpu")), "random", torch.float64)
        with pytest.raises(ShapeMismatch, match="20 latents in groups of 8"):
            ops.select_group_top_k(problem.x, problem.split(problem.encoder), problem.bias, 2, 8)

    together(2, work)


def test_rows_of_all_ranks_come_in_order_however_many_each_has(together):
    def work(rank):
        everyone = across.Ranks(None)
        assert everyone.joined(torch.full((3 * rank,), rank)).tolist() == [1, 1, 1]
        assert everyone.joined(torch.full((2 - rank, 2), rank)).tolist() == [[0, 0], [0, 0], [1, 1]]
        collected = everyone.collected(torch.full((2,), rank))
        assert (collected is None) == (rank == 1)
        assert rank == 1 or collected.tolist() == [0, 0, 1, 1]
        assert everyone.largest(torch.tensor([rank, -rank])).tolist() == [1, 0]
        assert dist.get_world_size() == everyone.size == 2

    together(2, work)
