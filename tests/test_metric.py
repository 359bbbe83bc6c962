"""What every metric keeps to, whoever wrote it; and the running sums below them."""

from __future__ import annotations

import math

import pytest
import torch

from assay.metric import Covariance, Mean, Metric, ratio


@pytest.mark.parametrize("name", Metric.registry.names())
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = Metric.registry.named(name)
    assert metric.name == name
    assert metric.unit
    assert metric.better in ("lower", "higher", "target")
    assert metric.reads in ("rows", "predictions")


@pytest.mark.parametrize("name", Metric.registry.names())
def test_every_formula_is_one_line_with_an_operation_in_it(name: str) -> None:
    formula = Metric.registry.named(name).formula()
    assert 0 < len(formula) <= 100
    assert any(mark in formula for mark in "E/|")
    assert not formula.endswith(".")


def test_a_second_metric_of_the_same_name_is_refused() -> None:
    with pytest.raises(TypeError, match="two metrics are called 'l0'"):
        type("Other", (Metric,), {}, name="l0", unit="", better="lower", reads="rows")


def test_ten_million_small_numbers_keep_their_mean() -> None:
    mean = Mean()
    for _ in range(100):
        mean.add(torch.full((100_000,), 0.1))
    assert mean.value() == pytest.approx(float(torch.tensor(0.1)), abs=1e-12)


def test_covariance_is_that_of_all_rows_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = 1e4 + torch.randn(2, 101, 3, generator=generator, dtype=torch.float64).cumsum(1)
    running = Covariance()
    for start, stop in ((0, 1), (1, 40), (40, 40), (40, 101)):
        running.add(x[start:stop], y[start:stop])
    assert running.value() == pytest.approx(float(((x - x.mean(0)) * (y - y.mean(0))).sum() / 101), abs=1e-9)
    torch.testing.assert_close(running.mean_difference(), y.mean(0) - x.mean(0), rtol=0, atol=1e-10)


def test_a_constant_varies_by_exactly_nothing() -> None:
    running = Covariance()
    for rows in (3, 7, 11):
        running.add(torch.full((rows, 2), 0.1), torch.randn(rows, 2, generator=torch.Generator().manual_seed(rows)))
    assert running.value() == 0


def test_a_ratio_over_nothing_is_not_a_number() -> None:
    assert math.isnan(ratio(1.0, 0.0))
    assert math.isnan(ratio(0.0, 0))
    assert ratio(1.0, 4) == 0.25
