"""The learning rate's course."""

from __future__ import annotations

import pytest

from assay.training.schedule import Schedule


def test_it_rises_stays_and_falls_over_the_last_fifth() -> None:
    schedule = Schedule(steps=100, warmup=0.1, decay=0.2)
    assert [schedule.at(0), schedule.at(9), schedule.at(50), schedule.at(80)] == [0.1, 1.0, 1.0, 1.0]
    assert schedule.at(90) == pytest.approx(0.5)
    assert schedule.at(99) == pytest.approx(0.05)


def test_without_warm_up_or_decay_it_is_flat() -> None:
    assert {Schedule(steps=7, warmup=0.0, decay=0.0).at(step) for step in range(7)} == {1.0}


def test_after_a_resampling_it_dips_to_a_tenth_and_climbs_back_along_a_cosine() -> None:
    schedule = Schedule(steps=1000, warmup=0.0, decay=0.0, dips=[100], dip_steps=10)
    assert schedule.at(99) == 1.0
    assert schedule.at(100) == pytest.approx(0.1)
    assert schedule.at(105) == pytest.approx(0.55)
    assert schedule.at(110) == 1.0
