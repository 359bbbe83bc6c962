"""Cross-entropies, KL, and what is recovered of them by hand: numbers of a model's predictions."""

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
    kl_zero=torch.tensor([4.0, 5.0]),
    kl_mean=torch.tensor([2.0, 1.0]),
)
SECOND = Predictions(
    clean=torch.tensor([3.0]),
    spliced=torch.tensor([5.0]),
    zero=torch.tensor([13.0]),
    mean=torch.tensor([4.0]),
    kl=torch.tensor([0.6]),
    kl_zero=torch.tensor([6.0]),
    kl_mean=torch.tensor([0.6]),
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
        ("kl_zero", 15 / 3),
        ("kl_mean", 3.6 / 3),
        ("kl_recovered_zero", (15 - 1.2) / 15),
        ("kl_recovered_mean", (3.6 - 1.2) / 3.6),
    ],
)
def test_hand_computed_values_over_positions_not_batches(name: str, value: float) -> None:
    assert after(name, FIRST, SECOND) == pytest.approx(value, abs=1e-7)


def test_loss_recovered_is_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    ratios = [after("loss_recovered_mean", batch) for batch in (FIRST, SECOND)]
    assert after("loss_recovered_mean", FIRST, SECOND) != pytest.approx(sum(ratios) / 2)


def test_worse_than_the_ablation_is_negative() -> None:
    assert after("loss_recovered_mean", SECOND) == -1


@pytest.mark.parametrize("name", [name for name in READ if "recovered" in name])
def test_an_ablation_that_costs_nothing_leaves_no_value(name: str) -> None:
    same = torch.tensor([1.0, 2.0])
    assert math.isnan(after(name, Predictions(same, same + 1, same, same, kl=same, kl_zero=0 * same, kl_mean=0 * same)))


@pytest.mark.parametrize("name", READ)
def test_nothing_seen_is_not_a_number(name: str) -> None:
    none = torch.zeros(0)
    assert math.isnan(after(name))
    assert math.isnan(after(name, Predictions(*[none] * 7)))


def test_they_are_all_there() -> None:
    assert set(READ) == {
        "ce_clean",
        "ce_spliced",
        "ce_zero",
        "ce_mean",
        "loss_recovered_zero",
        "loss_recovered_mean",
        "kl",
        "kl_zero",
        "kl_mean",
        "kl_recovered_zero",
        "kl_recovered_mean",
    }
