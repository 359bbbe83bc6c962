"""What every metric keeps to, whoever wrote it; and the running sums below them."""

from __future__ import annotations

import math

import pytest
import torch

from assay.codes import SparseCodes
from assay.metric import Metric, Rows, Summed, quotient
from assay.metrics.explained_variance import ExplainedVariance
from assay.metrics.l0 import L0


@pytest.mark.parametrize("name", Metric.registry.names())
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = Metric.registry.named(name)
    assert metric.name == name
    assert metric.unit
    assert metric.better in ("lower", "higher", "target")
    assert metric.reads in ("rows", "predictions", "weights")


@pytest.mark.parametrize("name", Metric.registry.names())
def test_every_formula_is_one_line_with_an_operation_in_it(name: str) -> None:
    formula = Metric.registry.named(name).formula()
    assert 0 < len(formula) <= 100
    assert any(mark in formula for mark in "E/|")
    assert not formula.endswith(".")


def test_a_second_metric_of_the_same_name_is_refused() -> None:
    with pytest.raises(TypeError, match="two metrics are called 'l0'"):
        type("Other", (Metric,), {}, name="l0", unit="", better="lower", reads="rows")


def test_a_metric_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="Nameless needs a name"):
        type("Nameless", (Metric,), {})


def rows(active: list[int], documents: list[int] | None = None) -> Rows:
    table = (torch.arange(8) < torch.tensor(active)[:, None]).float()
    x = torch.randn(len(active), 3, generator=torch.Generator().manual_seed(0))
    numbers = None if documents is None else torch.tensor(documents, dtype=torch.int64)
    return Rows(x, SparseCodes.dense(table), 0.9 * x + 0.1, documents=numbers)


def test_ten_million_small_numbers_keep_their_mean() -> None:
    class Tenths(Summed, abstract=True):
        def parts(self, batch: Rows) -> torch.Tensor:
            return torch.full((100_000, 1), 0.1, dtype=torch.float64)

    metric = Tenths()
    for _ in range(100):
        metric.update(rows([1]))
    assert metric.value() == pytest.approx(0.1, abs=1e-12)


def test_sums_are_kept_by_document_whatever_the_batches() -> None:
    whole, split = L0(), L0()
    whole.update(rows([1, 2, 3, 4, 5], [0, 0, 2, 1, 2]))
    for part in (rows([], []), rows([1, 2], [0, 0]), rows([3], [2]), rows([4, 5], [1, 2])):
        split.update(part)
    for metric in (whole, split):
        assert metric.by_document().tolist() == [[3, 2], [4, 1], [8, 2]]
        assert metric.value() == 3
        assert float(metric.of(torch.tensor([2.0, 0, 1], dtype=torch.float64) @ metric.by_document())) == 14 / 6


def test_without_documents_all_rows_are_one() -> None:
    metric = L0()
    metric.update(rows([1, 2]))
    metric.update(rows([6]))
    assert metric.by_document().tolist() == [[9, 3]]


def test_nothing_seen_has_no_documents() -> None:
    assert L0().by_document().shape == (0, 1)
    assert math.isnan(L0().value())


def test_documents_drawn_anew_have_the_value_of_their_rows_about_the_mean_of_all() -> None:
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(1)) + torch.arange(60)[:, None] / 30
    reconstruction, documents = 0.8 * x, torch.arange(60) // 15
    metric = ExplainedVariance()
    metric.update(Rows(x, SparseCodes.dense(torch.ones(60, 1)), reconstruction, documents))
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0], dtype=torch.float64)
    drawn = weights[documents]
    error = (drawn * (x - reconstruction).double().square().sum(-1)).sum()
    spread = (drawn * (x - x.mean(0)).double().square().sum(-1)).sum()
    assert float(metric.of(weights @ metric.by_document())) == pytest.approx(float(1 - error / spread), abs=1e-6)


def test_a_quotient_over_nothing_is_not_a_number() -> None:
    found = quotient(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 4.0]))
    assert found.isnan().tolist() == [True, True, False]
    assert found[2] == 0.25
