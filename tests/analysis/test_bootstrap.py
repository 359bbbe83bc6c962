"""Intervals with known answers: the width of a mean's, pairs that cancel, and what is not defined."""

from __future__ import annotations

import math

import pytest
import torch

from assay.analysis.bootstrap import Drawing, interval
from assay.analysis.by_document import MOST, Documents, DocumentSums, plain, summed
from assay.metrics.l0 import L0


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = torch.stack([values, torch.ones_like(values)], 1)
    drawn = L0.of(Drawing(draws=4000).documents(200) @ sums)
    found = interval(float(values.mean()), drawn)
    half = 1.96 * float(values.std()) / math.sqrt(200)
    assert found.estimate == pytest.approx(float(values.mean()))
    assert found.low == pytest.approx(float(values.mean()) - half, abs=0.1 * half)
    assert found.high == pytest.approx(float(values.mean()) + half, abs=0.1 * half)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for trial in range(200):
        values = torch.rand(60, generator=torch.Generator().manual_seed(trial), dtype=torch.float64)
        drawn = Drawing(draws=400, seed=trial).documents(60) @ values / 60
        found = interval(float(values.mean()), drawn)
        held += found.low <= 0.5 <= found.high  # pyright: ignore
    assert 0.89 <= held / 200 <= 0.985


def test_every_draw_has_as_many_documents_and_the_same_text_the_same_ones() -> None:
    drawn = Drawing().documents(37, "a text")
    assert drawn.shape == (1000, 37)
    assert set(drawn.sum(1).tolist()) == {37}
    assert torch.equal(drawn, Drawing().documents(37, "a text"))
    assert not torch.equal(drawn, Drawing().documents(37, "another text"))
    assert not torch.equal(drawn, Drawing(seed=1).documents(37, "a text"))


def test_the_same_seeds_are_drawn_together() -> None:
    assert torch.equal(Drawing().seeds([0, 1, 2]), Drawing().seeds([2, 1, 0]))
    assert not Drawing().seeds([7]).any()
    assert set(Drawing().seeds([0, 1, 2]).unique().tolist()) == {0, 1, 2}


def test_draws_without_a_value_are_left_out_and_too_many_leave_no_interval() -> None:
    few = torch.tensor([1.0, 2, 3, torch.nan])
    assert interval(2.0, few, level=0.5).model_dump() == {"estimate": 2.0, "low": 1.5, "high": 2.5}
    many = torch.tensor([1.0, torch.nan, torch.nan])
    assert interval(2.0, many).model_dump() == {"estimate": 2.0, "low": None, "high": None}
    assert interval(float("nan"), few).estimate is None


def test_documents_are_numbered_as_they_come_and_grouped_where_there_are_many() -> None:
    documents = Documents()
    assert documents.numbers(torch.tensor([7, 7, 3])).tolist() == [0, 0, 1]
    assert documents.numbers(torch.tensor([3, 9])).tolist() == [1, 2]
    assert documents.numbers(torch.arange(100, 100 + MOST)).tolist() == [*range(3, MOST), 0, 1, 2]


def test_sums_survive_json() -> None:
    kept = DocumentSums(inputs="a", text="b", arms={"arm": {"l0": ((1.5, 2.0), (0.1, 1.0))}})
    found = kept.of("arm", "l0")
    assert found is not None
    assert found.tolist() == [[1.5, 2.0], [0.1, 1.0]]
    assert kept.of("arm", "l1") is None
    assert kept.of("other", "l0") is None
    assert plain({"l0": torch.tensor([[1 / 3, 2]], dtype=torch.float64), "ce": torch.zeros(0, 1)}) == {
        "l0": [[0.3333333333333, 2.0]]
    }


@pytest.mark.parametrize(
    "tables",
    [
        {"l0": ()},
        {"l0": ((1.0, 2.0), (1.0,))},
        {"l0": ((1.0, 2.0),), "l1": ((1.0, 2.0), (1.0, 2.0))},
        {"loss_recovered_zero": ((1.0, 2.0),)},
        {"l0": ((),)},
        {"l0": ((1e200, 1.0),)},
    ],
)
def test_tables_that_are_none_are_refused(tables: dict[str, tuple[tuple[float, ...], ...]]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        DocumentSums(inputs="a", text="b", arms={"arm": tables})


def test_metrics_that_saw_fewer_documents_are_padded() -> None:
    found = plain({"l0": torch.ones(3, 2), "kl": torch.ones(2, 2)})
    assert found["kl"] == [[1, 1], [1, 1], [0, 0]]


def test_only_functions_of_sums_are_drawn() -> None:
    assert summed("l0") is L0
    assert summed("dead_fraction") is None
    assert summed("nothing") is None
