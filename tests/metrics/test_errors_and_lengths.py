"""Squared error, lengths, the sum of codes and the variance by token: by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from assay.codes import SparseCodes
from assay.metric import Metric, Rows

X = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
RECONSTRUCTION = torch.tensor([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
CODES = torch.tensor([[2.0, -1.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])


def value(name: str, typical: Tensor | None = None) -> float:
    metric = Metric.registry.named(name)()
    metric.update(Rows(X, SparseCodes.dense(CODES), RECONSTRUCTION, typical=typical))
    return metric.value()


def test_squared_error() -> None:
    assert value("mse") == pytest.approx((16 + 1 + 1) / 3 / 2)
    assert value("nmse") == pytest.approx((16 + 1 + 1) / (25 + 4))


def test_lengths_leave_out_rows_of_zeros() -> None:
    assert value("length_ratio") == pytest.approx((3 / 5 + 1 / 2) / 2)


def test_codes_are_added_up_whatever_their_sign() -> None:
    assert value("l1") == pytest.approx(3.5 / 3)


def test_variance_by_token_is_about_the_training_mean() -> None:
    assert math.isnan(value("explained_variance_by_token"))
    typical = torch.tensor([0.0, 0.0])
    assert value("explained_variance_by_token", typical) == pytest.approx(((1 - 16 / 25) + (1 - 1 / 4)) / 2)
