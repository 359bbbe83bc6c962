"""Dead latents by hand, over batches."""

from __future__ import annotations

import math

import pytest
import torch

from assay.codes import SparseCodes
from assay.metric import Rows
from assay.metrics.dead_fraction import DeadFraction


def rows(table: list[list[float]], *, sparse: bool) -> Rows:
    codes = SparseCodes.dense(torch.tensor(table))
    return Rows(torch.zeros(len(table), 2), codes.to_csr() if sparse else codes, torch.zeros(len(table), 2))


@pytest.mark.parametrize("sparse", [False, True])
def test_a_latent_is_dead_when_it_fires_in_no_batch(sparse: bool) -> None:
    metric = DeadFraction()
    metric.update(rows([[1.0, 0.0, 0.0, 0.0]], sparse=sparse))
    assert metric.value() == 3 / 4
    metric.update(rows([[0.0, 0.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.0]], sparse=not sparse))
    assert metric.value() == 2 / 4


def test_nothing_seen_is_not_a_number() -> None:
    metric = DeadFraction()
    metric.update(Rows(torch.zeros(0, 2), SparseCodes.dense(torch.zeros(0, 4)), torch.zeros(0, 2)))
    assert math.isnan(metric.value())
