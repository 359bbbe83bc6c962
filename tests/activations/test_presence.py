"""The laws of presence: how often each planted atom comes, and with which others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from assay.activations.planted import Planted
from assay.activations.presence import COMMONEST, correlated, rates
from assay.errors import ConfigError

ROWS = 40_000


def present(planted: Planted) -> Tensor:
    return (planted.codes(ROWS, 0) != 0).double()


@pytest.mark.parametrize(
    "law", [{}, {"zipf": 1.0}, {"correlation": 0.6}, {"children": 3}, {"children": 2, "zipf": 0.7, "correlation": 0.3}]
)
def test_as_many_atoms_are_active_whatever_the_law(law: dict[str, float]) -> None:
    assert float(present(Planted(active=3.0, **law)).sum(1).mean()) == pytest.approx(3.0, abs=0.08)


def test_zipf_is_a_straight_line_in_logs_below_the_commonest() -> None:
    found = rates(1000, 5.0, zipf=1.0)
    assert float(found.sum()) == pytest.approx(5.0, abs=1e-4)
    free = found[found < COMMONEST - 1e-6].double()
    first = 1000 - len(free)
    torch.testing.assert_close(free * torch.arange(first + 1, 1001), free[:1].mul(first + 1).expand_as(free))
    assert float(rates(10, 5.0, zipf=3.0).max()) == COMMONEST
    often = present(Planted(zipf=1.0)).mean(0)
    torch.testing.assert_close(often, rates(96, 3.0, 1.0).double(), rtol=0, atol=0.01)


def test_atoms_of_a_cluster_come_together_and_no_oftener() -> None:
    law = rates(24, 3.0)
    drawn = correlated(ROWS, law, 0.6, 8, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(drawn.mean(0), law.double(), rtol=0, atol=0.007)
    together = torch.corrcoef(drawn.T)
    same = torch.arange(24)[:, None] // 8 == torch.arange(24) // 8
    within, across = together[same & ~torch.eye(24, dtype=torch.bool)], together[~same]
    assert float(within.min()) > 0.2
    assert float(across.abs().max()) < 0.03


def test_a_child_comes_with_its_parent_only_and_one_at_a_time() -> None:
    planted = Planted(atoms=96, children=3, alone=0.3)
    here = present(planted).view(ROWS, 24, 4)
    parent, children = here[..., 0], here[..., 1:].sum(-1)
    assert float(children.max()) == 1
    assert not bool(((children > 0) & (parent == 0)).any())
    assert float(children[parent == 1].mean()) == pytest.approx(0.7, abs=0.01)
    each = here[..., 1:].sum((0, 1))
    assert float(each.max() / each.min()) < 1.06
    assert planted.parents[:5].tolist() == [-1, 0, 0, 0, -1]
    assert set(Planted().parents.tolist()) == {-1}


@pytest.mark.parametrize("alone", [0.0, 1.0])
def test_parents_may_always_or_never_be_alone(alone: float) -> None:
    here = present(Planted(atoms=96, children=3, alone=alone)).view(ROWS, 24, 4)
    assert torch.equal(here[..., 1:].sum(-1), here[..., 0] * (1 - alone))


def test_the_mean_is_in_every_row_and_has_its_length() -> None:
    shifted, plain = Planted(offset=5.0, seed=2), Planted(seed=2)
    assert float(shifted.mean.norm()) == pytest.approx(5.0)
    torch.testing.assert_close(shifted.sample(50, 1) - plain.sample(50, 1), shifted.mean.expand(50, -1))
    assert torch.equal(shifted.directions, plain.directions)


@pytest.mark.parametrize("wrong", [{"children": 4}, {"correlation": 1.0}, {"alone": 1.5}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="whole families"):
        Planted(**wrong)  # pyright: ignore
