"""Powers that fall in steps: safe at zero, in time, and of one size where they change."""

from __future__ import annotations

import pytest
import torch

from assay.ops import annealed, changes_due, exponent, power


@pytest.mark.parametrize("p", [1.0, 0.7, 0.2])
def test_power_is_exact_above_the_floor_and_a_line_below(p):
    values = torch.tensor([-2.0, -0.5, -1e-4, 0.0, 1e-4, 1e-3, 0.3, 1.5], dtype=torch.float64, requires_grad=True)
    result = power(values, p)
    slopes = torch.autograd.grad(result.sum(), values)[0]
    magnitude = values.detach().abs()
    high = magnitude > 1e-3
    torch.testing.assert_close(result.detach()[high], magnitude[high].pow(p))
    torch.testing.assert_close(slopes[high], (values.sign() * p * magnitude.pow(p - 1))[high].detach())
    torch.testing.assert_close(result.detach()[~high], magnitude[~high] * 1e-3 ** (p - 1))
    assert result[3] == 0
    assert slopes[3] == 0
    assert float(slopes.abs().max()) <= 1e-3 ** (p - 1) * (1 + 1e-12)


def test_changes_come_at_equal_distances_and_the_last_power_is_used_as_long_as_the_others():
    due = [changes_due(step / 64, 0.5, 4) for step in range(64)]
    assert due == [0] * 32 + [1] * 8 + [2] * 8 + [3] * 8 + [4] * 8
    assert changes_due(1.0, 0.5, 5) == 5
    assert [changes_due(p, 0.0, 2) for p in (0.0, 0.49, 0.5)] == [1, 1, 2]


def test_exponents_fall_from_one_to_the_end_and_stay():
    torch.testing.assert_close([exponent(k, 4, 0.2) for k in range(6)], [1.0, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_a_change_keeps_the_mean_size_of_recent_batches_and_forgets_them():
    state = torch.tensor(0), torch.tensor(2.0), torch.zeros(2, 2)
    for sums in ([9.0, 9.0], [1.0, 2.0]):
        state = annealed(*state, torch.tensor(sums), due=0)
    assert state[:2] == (0, 2.0)
    changed, coefficient, recent = annealed(*state, torch.tensor([3.0, 6.0]), due=1)
    assert (changed, coefficient) == (1, 1.0)
    assert not recent.any()


def test_a_change_where_nothing_fires_leaves_the_coefficient():
    changed, coefficient, _ = annealed(torch.tensor(0), torch.tensor(2.0), torch.zeros(2, 2), torch.zeros(2), due=3)
    assert (changed, coefficient) == (1, 2.0)
