"""Tables for terminals and for the page."""

from __future__ import annotations

from collections.abc import Callable

from assay.record import Record
from assay.reports import text_table
from assay.reports.table import columns, rows

MakeRecord = Callable[..., Record]


def test_numbers_are_aligned_and_undefined_ones_are_dashes(make_record: MakeRecord) -> None:
    records = [
        make_record("gated", 0.2, 9.25, explained_variance=None, dead_fraction=0.5),
        make_record("gated", 0.1, 120.0, explained_variance=0.75, dead_fraction=None),
    ]
    lines = text_table(records, ["l0", "explained_variance", "dead_fraction"]).splitlines()
    assert [line.split() for line in lines] == [
        ["Explained"],
        ["arm", "L0", "variance", "Dead"],
        ["─" * len(lines[2])],
        ["gated-0.1-s0", "120.0", "0.750", "–"],
        ["gated-0.2-s0", "9.2", "–", "50.0", "%"],
    ]
    assert lines[3].index("120.0") + len("120.0") == lines[4].index("9.2") + len("9.2")


def test_known_quantities_come_first_and_unmeasured_ones_not_at_all(make_record: MakeRecord) -> None:
    record = make_record("gated", 0.1, 9.0, my_metric=1.5, kl=None, ce_clean=3.0)
    assert [column.key for column in columns([record])] == ["l0", "ce_clean", "my_metric"]


def test_a_hostile_arm_name_cannot_move_the_cursor_or_style_the_terminal(make_record: MakeRecord) -> None:
    table = text_table([make_record("gated", 0.1, 9.0, arm="[red]\x1b[2J\u202ename")])
    assert "\x1b" not in table
    assert "\u202e" not in table
    assert "[red]U+001B[2JU+202Ename" in table


def test_rows_stand_by_family_dial_and_seed(make_record: MakeRecord) -> None:
    records = [make_record("relu", 0.1, 9.0), make_record("gated", 0.2, 8.0), make_record("gated", 0.1, 9.0)]
    assert [(row.record.arm, row.first) for row in rows(records, columns(records))] == [
        ("gated-0.1-s0", True),
        ("gated-0.2-s0", False),
        ("relu-0.1-s0", True),
    ]
