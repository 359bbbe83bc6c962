"""Firing frequencies: their median, and a histogram that leaves nobody out."""

from __future__ import annotations

import math

import torch

from assay.codes import SparseCodes
from assay.metric import Rows
from assay.metrics.density import Density


def seen(firings: list[int], rows: int, batch: int = 10**9) -> Density:
    """A metric that saw `rows` rows, latent l firing on the first firings[l] of them."""
    table = (torch.arange(rows)[:, None] < torch.tensor(firings)).float()
    metric = Density()
    for part in table.split(batch):
        metric.update(Rows(torch.zeros(len(part), 1), SparseCodes.dense(part).to_csr(), torch.zeros(len(part), 1)))
    return metric


def test_the_value_is_the_median_frequency_of_latents_that_fired() -> None:
    assert seen([0, 1, 4, 20], rows=20).value() == 4 / 20
    assert seen([0, 1, 4, 20], rows=20, batch=3).value() == 4 / 20
    assert seen([2, 4], rows=20).value() == 3 / 20


def test_the_histogram_holds_every_living_latent_once() -> None:
    histogram = seen([0, 1, 10, 100, 1000, 0, 1], rows=1000, batch=99).histogram()
    assert histogram.dead == 2
    assert histogram.edges == tuple(-3 + i / 4 for i in range(13))
    assert histogram.counts == (2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1)


def test_bins_reach_down_to_a_single_firing() -> None:
    histogram = seen([1, 8], rows=8192).histogram()
    assert histogram.edges[0] == -4
    assert histogram.counts[0] == 1  # log10(1 / 8192) = -3.91
    assert sum(histogram.counts) == 2


def test_one_row_is_enough() -> None:
    histogram = seen([1, 0], rows=1).histogram()
    assert (histogram.dead, sum(histogram.counts), histogram.counts[-1]) == (1, 1, 1)


def test_nothing_seen_and_nothing_fired_have_no_value() -> None:
    assert math.isnan(Density().value())
    assert math.isnan(seen([0, 0], rows=5).value())
    assert Density().histogram().dead == 0
    assert sum(Density().histogram().counts) == 0
    assert seen([0, 0], rows=5).histogram().dead == 2
