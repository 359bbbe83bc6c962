"""Interpolation against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from assay.record import Record
from assay.reports.families import families
from assay.reports.matching import Estimate, Frontier, common, differences, frontier, middle

MakeRecord = Callable[..., Record]


def line(make_record: MakeRecord, *points: tuple[float, float], seeds: int = 1) -> Frontier:
    """The frontier of points (L0, value), each seed 0.01 above the one before."""
    records = [
        make_record("gated", 1 / l0, l0, seed, kl=value + 0.01 * seed) for l0, value in points for seed in range(seeds)
    ]
    found = frontier(families(records)[0], "kl")
    assert found is not None
    return found


def test_values_lie_on_straight_lines_in_log_l0(make_record: MakeRecord) -> None:
    curve = line(make_record, (10.0, 0.2), (1000.0, 0.6), (100_000.0, 0.7))
    assert curve.at(100.0).mean == pytest.approx(0.4)
    assert curve.at(10_000.0).mean == pytest.approx(0.65)
    assert curve.l0_range() == (10.0, 100_000.0)


def test_the_l0_for_a_value_is_the_inverse(make_record: MakeRecord) -> None:
    curve = line(make_record, (10.0, 0.2), (1000.0, 0.6))
    assert curve.value_range() == (0.2, 0.6)
    assert curve.l0_for(0.4).mean == pytest.approx(100.0)


def test_a_line_that_falls_has_no_one_l0_for_a_value(make_record: MakeRecord) -> None:
    assert line(make_record, (10.0, 0.2), (100.0, 0.6), (1000.0, 0.5)).value_range() is None


def test_each_seed_has_its_own_line(make_record: MakeRecord) -> None:
    estimate = line(make_record, (10.0, 0.2), (1000.0, 0.6), seeds=3).at(100.0)
    assert estimate.by_seed == pytest.approx((0.40, 0.41, 0.42))
    assert estimate.mean == pytest.approx(0.41)
    assert estimate.spread == pytest.approx((0.40, 0.42))


def test_one_point_is_no_line(make_record: MakeRecord) -> None:
    assert frontier(families([make_record("gated", 0.1, 10.0, kl=1.0)])[0], "kl") is None


def test_spreads_overlap_only_where_there_are_several_seeds() -> None:
    assert Estimate((1.0, 3.0)).overlaps(Estimate((2.0,)))
    assert not Estimate((1.0, 3.0)).overlaps(Estimate((3.5, 4.0)))
    assert not Estimate((2.0,)).overlaps(Estimate((2.0,)))


def test_ranges_share_what_lies_in_all_of_them() -> None:
    assert common([(1.0, 5.0), (2.0, 9.0), (0.0, 4.0)]) == (2.0, 4.0)
    assert common([(1.0, 2.0), (3.0, 4.0)]) is None
    assert common([(1.0, 2.0), None]) is None


def test_the_middle_is_round_where_that_stays_inside() -> None:
    assert middle((10.0, 90.0)) == 30.0
    assert middle((19.5, 72.0)) == 37.0
    assert middle((33.31, 33.33)) == pytest.approx(math.sqrt(33.31 * 33.33))


def test_differences_look_at_every_bend(make_record: MakeRecord) -> None:
    bent = line(make_record, (10.0, 0.2), (100.0, 0.9), (1000.0, 0.6))
    straight = line(make_record, (10.0, 0.3), (1000.0, 0.7))
    assert differences(bent, straight, (10.0, 1000.0)) == pytest.approx([-0.1, 0.4, -0.1])
