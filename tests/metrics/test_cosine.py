"""Cosine by hand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.codes import SparseCodes
from assay.metric import Rows
from assay.metrics.cosine import Cosine


def cosine(x: Tensor, reconstruction: Tensor, batch: int = 10**9) -> float:
    metric = Cosine()
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        metric.update(Rows(part, SparseCodes.dense(torch.zeros(len(part), 1)), reconstruction[start : start + batch]))
    return metric.value()


def test_it_is_the_mean_over_rows_whatever_their_length() -> None:
    x = torch.tensor([[3.0, 4.0], [100.0, 0.0], [0.0, 1.0]])
    reconstruction = torch.tensor([[4.0, 3.0], [0.0, 1.0], [0.0, -2.0]])
    assert abs(cosine(x, reconstruction) - (24 / 25 + 0 - 1) / 3) < 1e-15
    assert abs(cosine(x, reconstruction, batch=2) - (24 / 25 + 0 - 1) / 3) < 1e-15


def test_a_row_without_length_counts_as_zero() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert cosine(x, torch.tensor([[2.0, 0.0], [0.0, 0.0]])) == 0.5


def test_nothing_seen_is_not_a_number() -> None:
    assert math.isnan(Cosine().value())
