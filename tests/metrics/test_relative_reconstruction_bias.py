"""Both reconstruction biases: the shrinkage that one shows and a large mean hides from the other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from assay.codes import SparseCodes
from assay.metric import Metric, Rows
from assay.metrics.relative_reconstruction_bias import RelativeReconstructionBias
from assay.metrics.relative_reconstruction_bias_raw import RelativeReconstructionBiasRaw


def measured(kind: type[Metric], x: Tensor, reconstruction: Tensor, batch: int = 10**9) -> float:
    metric = kind()
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        codes = SparseCodes.dense(torch.zeros(len(part), 1))
        metric.update(Rows(part, codes, reconstruction[start : start + batch]))
    return metric.value()


def by_definition(x: Tensor, reconstruction: Tensor) -> float:
    x, reconstruction = x.double() - x.double().mean(0), reconstruction.double() - x.double().mean(0)
    return float(reconstruction.square().sum() / (x * reconstruction).sum())


def test_hand_computed_values() -> None:
    # Mean 2: centred x = -1, 1 and xhat = -0.5, 1: gamma = (0.25 + 1) / (0.5 + 1).
    x, reconstruction = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.5], [3.0]])
    assert measured(RelativeReconstructionBias, x, reconstruction) == pytest.approx(1.25 / 1.5, abs=1e-15)
    assert measured(RelativeReconstructionBiasRaw, x, reconstruction) == (2.25 + 9) / (1.5 + 9)


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6])
def test_shrinkage_about_the_mean_is_seen_whatever_the_mean(mean: float) -> None:
    noise = torch.randn(2048, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = mean + noise
    reconstruction = x.mean(0) + 0.7 * (x - x.mean(0))
    assert measured(RelativeReconstructionBias, x, reconstruction, batch=100) == pytest.approx(0.7, abs=1e-8)


def test_a_large_mean_hides_shrinkage_from_the_raw_ratio() -> None:
    x = 1e3 + torch.randn(512, 6, generator=torch.Generator().manual_seed(0))
    reconstruction = x.mean(0) + 0.7 * (x - x.mean(0))
    assert measured(RelativeReconstructionBiasRaw, x, reconstruction) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("batch", [1, 13])
def test_streaming_equals_one_batch(batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, generator=generator).cumsum(0)
    reconstruction = 0.8 * x + torch.randn(x.shape, generator=generator) + 3
    streamed = measured(RelativeReconstructionBias, x, reconstruction, batch)
    assert streamed == pytest.approx(by_definition(x, reconstruction), abs=1e-12)
    whole = float(reconstruction.double().square().sum() / (x.double() * reconstruction.double()).sum())
    assert measured(RelativeReconstructionBiasRaw, x, reconstruction, batch) == pytest.approx(whole, abs=1e-12)


def test_an_offset_of_the_reconstruction_counts_as_length() -> None:
    # Centred x = -1, 1; xhat - mu = 1, 3 (a reconstruction whose mean is 2 too high): (1 + 9) / (-1 + 3).
    x = torch.tensor([[4.0], [6.0]])
    assert measured(RelativeReconstructionBias, x, torch.tensor([[6.0], [8.0]]), batch=1) == pytest.approx(5)


def test_it_is_the_factor_that_a_reconstruction_should_be_divided_by() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    x -= x.mean(0)
    reconstruction = 0.6 * x + 0.2 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    gamma = measured(RelativeReconstructionBias, x, reconstruction)
    errors = {g: float((reconstruction / g - x).square().sum()) for g in (gamma - 1e-3, gamma, gamma + 1e-3)}
    assert min(errors, key=lambda g: errors[g]) == gamma


@pytest.mark.parametrize("kind", [RelativeReconstructionBias, RelativeReconstructionBiasRaw])
def test_the_activation_itself_is_unbiased(kind: type[Metric]) -> None:
    x = 100 + torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    assert measured(kind, x, x.clone(), batch=10) == 1


def test_a_constant_reconstruction_has_no_value() -> None:
    x = 5 + torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    assert math.isnan(measured(RelativeReconstructionBias, x, torch.zeros_like(x), batch=10))
    assert math.isnan(measured(RelativeReconstructionBias, x, x.mean(0).expand_as(x), batch=10))
    assert math.isnan(measured(RelativeReconstructionBiasRaw, x, torch.zeros_like(x), batch=10))


@pytest.mark.parametrize("kind", [RelativeReconstructionBias, RelativeReconstructionBiasRaw])
def test_nothing_seen_is_not_a_number(kind: type[Metric]) -> None:
    assert math.isnan(kind().value())
