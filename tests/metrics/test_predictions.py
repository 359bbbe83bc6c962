"""Cross-entropies, loss recovered and KL by hand: numbers of a model's predictions."""

from __future__ import annotations

import math

import pytest
import torch

from assay.metric import Metric, Predictions

READ = [name for name in Metric.registry.names() if Metric.registry.named(name).reads == "predictions"]

FIRST = Predictions(
    clean=torch.tensor([1.0, 2.0]),
    spliced=torch.tensor([1.5, 2.5]),
    zero=torch.tensor([9.0, 11.0]),
    mean=torch.tensor([4.0, 4.0]),
    kl=torch.tensor([0.5, 0.1]),
)
SECOND = Predictions(
    clean=torch.tensor([3.0]),
    spliced=torch.tensor([5.0]),
    zero=torch.tensor([13.0]),
    mean=torch.tensor([4.0]),
    kl=torch.tensor([0.6]),
)


def after(name: str, *batches: Predictions) -> float:
    metric = Metric.registry.named(name)()
    for batch in batches:
        metric.update(batch)
    return metric.value()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_clean", 6 / 3),
        ("ce_spliced", 9 / 3),
        ("ce_zero", 33 / 3),
        ("ce_mean", 12 / 3),
        ("loss_recovered_zero", (11 - 3) / (11 - 2)),
        ("loss_recovered_mean", (4 - 3) / (4 - 2)),
        ("kl", 1.2 / 3),
    ],
)
def test_hand_computed_values_over_positions_not_batches(name: str, value: float) -> None:
    assert after(name, FIRST, SECOND) == pytest.approx(value, abs=1e-7)


def test_loss_recovered_is_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    ratios = [after("loss_recovered_mean", batch) for batch in (FIRST, SECOND)]
    assert after("loss_recovered_mean", FIRST, SECOND) != pytest.approx(sum(ratios) / 2)


def test_worse_than_the_ablation_is_negative() -> None:
    assert after("loss_recovered_mean", SECOND) == -1


@pytest.mark.parametrize("name", ["loss_recovered_zero", "loss_recovered_mean"])
def test_an_ablation_that_costs_nothing_leaves_no_value(name: str) -> None:
    same = torch.tensor([1.0, 2.0])
    assert math.isnan(after(name, Predictions(clean=same, spliced=same + 1, zero=same, mean=same, kl=same)))


@pytest.mark.parametrize("name", READ)
def test_nothing_seen_is_not_a_number(name: str) -> None:
    none = torch.zeros(0)
    assert math.isnan(after(name))
    assert math.isnan(after(name, Predictions(none, none, none, none, none)))


def test_the_seven_are_all_there() -> None:
    assert set(READ) == {
        "ce_clean",
        "ce_spliced",
        "ce_zero",
        "ce_mean",
        "loss_recovered_zero",
        "loss_recovered_mean",
        "kl",
    }
