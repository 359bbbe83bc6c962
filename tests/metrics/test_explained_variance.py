"""Explained variance by hand, streaming, with a large mean, and where it has no value."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from assay.codes import SparseCodes
from assay.metric import Rows
from assay.metrics.explained_variance import ExplainedVariance


def explained_variance(x: Tensor, reconstruction: Tensor, *, batch: int = 10**9) -> float:
    metric = ExplainedVariance()
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        codes = SparseCodes.dense(torch.zeros(len(part), 1))
        metric.update(Rows(part, codes, reconstruction[start : start + batch]))
    return metric.value()


def by_definition(x: Tensor, reconstruction: Tensor) -> float:
    x, reconstruction = x.double(), reconstruction.double()
    return float(1 - (x - reconstruction).square().sum() / (x - x.mean(0)).square().sum())


def test_a_hand_computed_value() -> None:
    # Mean (1, 2); spread 1 + 1 + 4 + 4 = 10; error 1 + 4 = 5.
    x = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    assert explained_variance(x, torch.tensor([[1.0, 0.0], [2.0, 2.0]])) == 0.5


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_streaming_equals_one_batch(batch: int) -> None:
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(0)).cumsum(0)  # batches differ in mean
    reconstruction = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    assert explained_variance(x, reconstruction, batch=batch) == pytest.approx(
        by_definition(x, reconstruction), abs=1e-12
    )


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6])
def test_a_large_mean_costs_no_digits(mean: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = mean + torch.randn(4096, 8, generator=generator, dtype=torch.float64)
    reconstruction = x + 0.5 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    assert explained_variance(x, reconstruction, batch=100) == pytest.approx(by_definition(x, reconstruction), abs=1e-9)
    assert explained_variance(x, reconstruction, batch=100) == pytest.approx(0.75, abs=0.02)


def test_the_mean_of_all_rows_scores_zero_even_where_batches_have_other_means() -> None:
    x = torch.tensor([[0.0], [1.0], [10.0], [13.0]])
    assert explained_variance(x, x.mean(0).expand_as(x), batch=2) == pytest.approx(0, abs=1e-12)


def test_the_activation_itself_scores_one() -> None:
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert explained_variance(x, x.clone(), batch=9) == 1


def test_zero_scores_below_zero_where_the_mean_is_large() -> None:
    x = torch.tensor([[9.0], [11.0]])
    assert explained_variance(x, torch.zeros(2, 1)) == 1 - (81 + 121) / 2


def test_rows_without_spread_have_no_value() -> None:
    x = torch.full((30, 4), 0.1)
    assert math.isnan(explained_variance(x, torch.zeros_like(x), batch=7))


def test_nothing_seen_is_not_a_number_and_an_empty_batch_changes_nothing() -> None:
    assert math.isnan(explained_variance(torch.zeros(0, 3), torch.zeros(0, 3)))
    metric = ExplainedVariance()
    x = torch.tensor([[0.0], [2.0]])
    for part in (x[:0], x, x[:0]):
        metric.update(Rows(part, SparseCodes.dense(torch.zeros(len(part), 1)), part * 0.5))
    assert metric.value() == 1 - (0 + 1) / 2
