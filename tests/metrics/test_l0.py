"""L0 by hand, in both layouts."""

from __future__ import annotations

import math

import pytest
import torch

from assay.codes import SparseCodes
from assay.metric import Rows
from assay.metrics.l0 import L0

TABLE = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, -3.0], [0.0, 0.0, 0.0]])


def rows(codes: SparseCodes) -> Rows:
    return Rows(torch.zeros(len(codes), 2), codes, torch.zeros(len(codes), 2))


@pytest.mark.parametrize("codes", [SparseCodes.dense(TABLE), SparseCodes.dense(TABLE).to_csr()], ids=["dense", "csr"])
def test_it_counts_active_latents_of_either_sign_per_row(codes: SparseCodes) -> None:
    metric = L0()
    metric.update(rows(codes))
    assert metric.value() == (2 + 1 + 0) / 3


def test_a_stored_zero_is_not_active() -> None:
    codes = SparseCodes.csr(torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([0.0, 5.0]), 3)
    metric = L0()
    metric.update(rows(codes))
    assert metric.value() == 1


def test_batches_of_unequal_size_count_by_row() -> None:
    metric = L0()
    metric.update(rows(SparseCodes.dense(TABLE[:1])))
    metric.update(rows(SparseCodes.dense(TABLE[1:])))
    assert metric.value() == 1


def test_nothing_seen_is_not_a_number() -> None:
    assert math.isnan(L0().value())
