"""What tasks found, compared: the same items drawn for both sides, plain numbers where items differ, and reasons in place of numbers."""

from __future__ import annotations

import pytest

from assay.analysis.bootstrap import Drawing
from assay.record import Outcome
from assay.reports import outcome_table
from assay.reports.tried import compare_tasks

DRAWING = Drawing(draws=400)


def outcome(
    arm: str,
    values: dict[str, float | None],
    items: dict[str, list[float | None]] | None = None,
    own: dict[str, list[float]] | None = None,
    why: str = "",
) -> Outcome:
    shared, owned = ({name: tuple(each) for name, each in (some or {}).items()} for some in (items, own))
    return Outcome(task="probe", arm=arm, inputs="", scores=values, items=shared, own=owned, not_applicable=why)


def test_what_is_hard_for_both_cancels() -> None:
    hard = [float(place % 2) for place in range(40)]
    better = [value + 0.1 for value in hard]
    first, second = outcome("a", {"k1": 0.6}, {"k1": better}), outcome("b", {"k1": 0.5}, {"k1": hard})
    (found,) = compare_tasks([first], [second], DRAWING)
    assert found.metric == "probe k1"
    assert found.difference.low == pytest.approx(0.1)
    assert found.difference.high == pytest.approx(0.1)
    assert found.first.low is not None
    assert found.first.low < 0.55


def test_other_items_give_no_interval() -> None:
    first, second = outcome("a", {"k1": 0.6}, {"k1": [0.5, 0.7]}), outcome("b", {"k1": 0.5}, {"k1": [0.5]})
    (found,) = compare_tasks([first], [second], DRAWING)
    assert (found.difference.estimate, found.difference.low) == (pytest.approx(0.1), None)


def test_latents_of_two_dictionaries_are_drawn_apart() -> None:
    same = [float(place % 2) for place in range(100)]
    first, second = outcome("a", {"k1": 0.5}, own={"k1": same}), outcome("b", {"k1": 0.5}, own={"k1": same})
    (found,) = compare_tasks([first], [second], DRAWING)
    width = found.difference.high - found.difference.low
    assert found.difference.estimate == 0
    assert width == pytest.approx(2 * 1.96 * (2 * 0.25 / 100) ** 0.5, rel=0.2)  # two means of 100 coins
    three, fewer = [first, first, first], outcome("b", {"k1": 0.0}, own={"k1": [0.0] * 7})
    (found,) = compare_tasks(three, [fewer], DRAWING)
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.96 * (0.25 / 300) ** 0.5, rel=0.2)
    (found,) = compare_tasks([*three, outcome("c", {"k1": 0.5})], [fewer], DRAWING)
    assert found.difference.low is None


def test_items_without_a_value_are_left_out_of_the_mean() -> None:
    first, second = (
        outcome("a", {"k1": 0.75}, {"k1": [0.5, 1.0, None] * 20}),
        outcome("b", {"k1": 0.5}, {"k1": [0.5] * 60}),
    )
    (found,) = compare_tasks([first], [second], DRAWING)
    assert found.first.low is not None
    assert 0.6 < found.first.low < 0.75 < found.first.high < 0.9
    assert (found.second.low, found.second.high) == (0.5, 0.5)


def test_seeds_are_drawn_where_a_score_has_no_items() -> None:
    first = [outcome(f"a-s{seed}", {"k1": 0.6 + seed / 10}) for seed in range(3)]
    second = [outcome(f"b-s{seed}", {"k1": 0.5 + seed / 10}) for seed in range(3)]
    (found,) = compare_tasks(first, second, DRAWING)
    assert (found.first.low, found.first.high) == pytest.approx((0.6, 0.8), abs=0.04)
    assert (found.difference.low, found.difference.high) == pytest.approx((0.1, 0.1)), "like seeds are drawn together"
    (found,) = compare_tasks(first, second[:1], DRAWING)
    assert found.difference.low is None, "one seed says nothing of others"


def test_seeds_are_drawn_besides_items() -> None:
    items = [[0.0] * 30, [1.0] * 30]
    first = [outcome(f"a-s{seed}", {"k1": each[0]}, {"k1": each}) for seed, each in enumerate(items)]
    (found,) = compare_tasks(first, [outcome("b", {"k1": 0.5}, {"k1": [0.5] * 30})], DRAWING)
    assert (found.first.low, found.first.high) == (0.0, 1.0)


def test_several_arms_of_a_side_are_meaned_and_undefined_ones_left_out() -> None:
    side = [outcome("a", {"k1": 0.6, "k2": None}), outcome("b", {"k1": 0.8, "k2": None})]
    (found,) = compare_tasks(side, [outcome("c", {"k1": 0.5, "k2": 0.1})], DRAWING)
    assert found.first.estimate == pytest.approx(0.7)


def test_the_table_has_a_column_an_arm_and_the_reasons_below() -> None:
    table = outcome_table([outcome("a", {"k1": 0.25}), outcome("b", {}, why="3 letters, 20 are needed")])
    assert table.splitlines() == [
        "              a  b",
        "probe k1  0.250  –",
        "probe is not applicable: 3 letters, 20 are needed",
    ]
