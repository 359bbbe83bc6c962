"""Probes: the optimum that calculus says, the scores that counting says, and nothing that depends on luck or on units."""

from __future__ import annotations

import pytest
import torch

from assay.analysis.probes import (
    accuracy,
    auc,
    balanced_accuracy,
    f1,
    fit,
    fit_sparse,
    hits,
    largest_differences,
    mean_differences,
    one_against_rest,
    principal_axes,
)
from assay.errors import ShapeMismatch


def labelled(rows=300, width=6, seed=0):
    """Rows of three classes, of which the first two columns tell, and labels that are sometimes wrong."""
    draw = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (rows,), generator=draw)
    x = torch.randn(rows, width, generator=draw)
    x[:, 0] += 2.0 * (classes == 1)
    x[:, 1] += 2.0 * (classes == 2)
    return x, one_against_rest(classes, 3)


def objective(x, y, weight, bias, penalty):
    """The loss as its definition reads, for one class."""
    z = (x.double() - x.double().mean(0)) / x.double().std(0, correction=0)
    u = weight * x.double().std(0, correction=0)
    b = bias + weight @ x.double().mean(0)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z @ u + b, y.double(), reduction="none")
    return (loss[y].mean() + loss[~y].mean()) / 2 + penalty(u)


def test_a_probe_is_at_the_minimum_of_its_loss():
    x, y = labelled()
    probes = fit(x, y, 0.01)
    for c in range(3):
        weight, bias = probes.weight[c].clone().requires_grad_(), probes.bias[c].clone().requires_grad_()
        objective(x, y[:, c], weight, bias, lambda u: 0.005 * u.square().sum()).backward()
        assert weight.grad.abs().max() < 1e-6
        assert bias.grad.abs() < 1e-6


def test_a_sparse_probe_is_at_the_minimum_of_its_loss_and_has_few_weights():
    x, y = labelled()
    probes = fit_sparse(x, y, 0.05)
    assert (probes.weight == 0).double().mean() > 0.4
    for c in range(3):
        there = objective(x, y[:, c], probes.weight[c], probes.bias[c], lambda u: 0.05 * u.abs().sum())
        for seed in range(20):
            nudge = 1e-3 * torch.randn(7, generator=torch.Generator().manual_seed(seed)).double()
            moved = objective(
                x, y[:, c], probes.weight[c] + nudge[:6], probes.bias[c] + nudge[6], lambda u: 0.05 * u.abs().sum()
            )
            assert moved > there - 1e-9


def test_probes_do_not_depend_on_the_units_or_the_origin_of_a_column():
    x, y = labelled()
    units, origin = torch.tensor([1e3, 1e-3, 1.0, 5.0, 0.1, 40.0]), torch.tensor([100.0, -3.0, 0, 0, 7.0, 1e3])
    ours, others = fit(x, y).logits(x), fit(x.double() * units + origin, y).logits(x.double() * units + origin)
    assert (ours - others).abs().max() < 1e-4


def test_separable_classes_converge_and_a_column_that_never_varies_does_no_harm():
    x, y = labelled()
    x = torch.cat([x, 20.0 * y[:, :1], torch.full((len(x), 1), 3.0)], 1)
    probes = fit(x, y[:, :1], 1e-6)
    assert accuracy(probes.logits(x), y[:, :1]) == 1.0
    assert probes.weight.isfinite().all()


def test_both_classes_weigh_the_same():
    draw = torch.Generator().manual_seed(0)
    y = (torch.arange(1000) < 30)[:, None]
    x = torch.randn(1000, 1, generator=draw) + 1.0 * y
    logits = fit(x, y).logits(x)
    assert 0.6 < balanced_accuracy(logits, y) < 0.8
    assert (logits > 0).double().mean() > 0.2, "one of the rare class is as dear as thirty of the other"


def test_scores_are_what_counting_says():
    logits = torch.tensor([[2.0], [1.0], [-1.0], [1.0], [-2.0], [-3.0], [-3.0], [-4.0]]).double()
    y = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0], dtype=torch.bool)[:, None]
    assert accuracy(logits, y).item() == pytest.approx(6 / 8)
    assert balanced_accuracy(logits, y).item() == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert hits(logits, y).sum().item() == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert {round(each, 9) for each in hits(logits, y).flatten().tolist()} == {0.0, round(1 / 6, 9), 0.1}
    assert f1(logits, y).item() == pytest.approx(4 / 6)
    assert auc(logits, y).item() == pytest.approx((5 + 4.5 + 4) / 15)


def test_whoever_ignores_the_row_scores_a_half():
    y = (torch.arange(100) < 10)[:, None]
    for logits in (torch.ones(100, 1).double(), -torch.ones(100, 1).double()):
        assert balanced_accuracy(logits, y).item() == 0.5
        assert auc(logits, y).item() == 0.5


def test_columns_are_chosen_by_the_difference_of_class_means():
    x, y = labelled(3000)
    difference = mean_differences(x, y)
    assert difference[1] == pytest.approx((x[y[:, 1]].mean(0) - x[~y[:, 1]].mean(0)).double(), abs=1e-5)
    assert largest_differences(difference[1], 1).tolist() == [0]
    assert largest_differences(torch.tensor([1.0, -2.0, 2.0, 0.0]), 3).tolist() == [1, 2, 0]


def test_principal_axes_are_orthonormal_and_ordered_by_variance():
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1, 2.0]) + 9
    axes = principal_axes(x)
    assert (axes @ axes.T - torch.eye(4)).abs().max() < 1e-9
    assert axes.abs().argmax(1).tolist() == [1, 3, 0, 2]


def test_a_class_without_rows_is_refused():
    with pytest.raises(ShapeMismatch, match="some of each class"):
        fit(torch.randn(4, 2), torch.zeros(4, 1, dtype=torch.bool))
