"""Latents that fire on more than 1 % or 10 % of rows, and how long a latent stays in a document: by hand."""

from __future__ import annotations

import math

import pytest
import torch

from assay.codes import SparseCodes
from assay.metric import Metric, Rows


def rows(table: torch.Tensor, documents: torch.Tensor | None = None) -> Rows:
    x = torch.zeros(len(table), 2)
    return Rows(x, SparseCodes.dense(table), x, documents)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("over_1_percent", 2 / 4),
        ("over_10_percent", 1 / 4),
        ("firings_over_1_percent", (100 + 8) / 110),
        ("firings_over_10_percent", 100 / 110),
    ],
)
def test_shares_of_latents_and_of_firings(name: str, value: float) -> None:
    table = torch.zeros(200, 4)
    table[:100, 0], table[:8, 1], table[:2, 2] = 1.0, -1.0, 1.0  # 50 %, 4 %, exactly 1 % (not more), never
    metric = Metric.registry.named(name)()
    for part in table.split(7):
        metric.update(rows(part))
    assert metric.value() == pytest.approx(value)


def test_firings_per_document_are_a_mean_over_latents() -> None:
    table = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0.0]])
    documents = torch.tensor([0, 0, 3, 3, 0])
    metric = Metric.registry.named("firings_per_document")()
    for part, some in zip(table.split(2), documents.split(2), strict=True):
        metric.update(rows(part, some))
    assert metric.value() == pytest.approx((4 / 2 + 2 / 2) / 2)  # the third latent never fired


def test_documents_that_nobody_knows_leave_no_value() -> None:
    metric = Metric.registry.named("firings_per_document")()
    metric.update(rows(torch.ones(3, 2)))
    assert math.isnan(metric.value())
