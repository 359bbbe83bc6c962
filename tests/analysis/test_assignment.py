"""The best one-to-one matching, against trying them all."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from assay.analysis.assignment import assign


def best_by_trying(similarity: Tensor) -> float:
    if len(similarity) > similarity.shape[1]:
        return best_by_trying(similarity.T)
    columns = range(similarity.shape[1])
    return max(
        sum(float(similarity[row, column]) for row, column in enumerate(chosen))
        for chosen in permutations(columns, len(similarity))
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 4), (3, 7), (7, 3), (6, 6)])
@pytest.mark.parametrize("kind", ["normal", "ties", "equal"])
def test_it_is_the_best_of_all(shape: tuple[int, int], kind: str) -> None:
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        similarity = {
            "normal": torch.randn(shape, generator=generator, dtype=torch.float64),
            "ties": torch.randint(-2, 3, shape, generator=generator).double(),
            "equal": torch.ones(shape, dtype=torch.float64),
        }[kind]
        rows, columns = assign(similarity)
        assert len(rows) == len(columns) == min(shape)
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert len(set(columns.tolist())) == len(columns)
        assert float(similarity[rows, columns].sum()) == pytest.approx(best_by_trying(similarity), abs=1e-9)


def test_a_hidden_order_is_found_at_size() -> None:
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(300, generator=generator)
    similarity = torch.rand(200, 300, generator=generator)
    similarity[torch.arange(200), order[:200]] += 1
    rows, columns = assign(similarity)
    assert torch.equal(rows, torch.arange(200))
    assert torch.equal(columns, order[:200])
    turned = assign(similarity.T)
    assert torch.equal(turned[0], order[:200].sort().values)
    assert torch.equal(turned[1], order[:200].argsort())


def test_greedy_is_not_enough() -> None:
    rows, columns = assign(torch.tensor([[1.0, 0.9], [0.9, 0.0]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_nothing_to_match() -> None:
    rows, columns = assign(torch.zeros(0, 4))
    assert len(rows) == len(columns) == 0
