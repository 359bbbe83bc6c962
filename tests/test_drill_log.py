"""The table of drills adds up the log, and the page shows the table of the log as it is."""

from __future__ import annotations

from tests import drill_log

LINES = [
    {"what": "crash", "random_kills": 1500, "mismatches": 0, "seed": 1, "commit": "abc"},
    {"what": "crash", "random_kills": 700, "mismatches": 2, "seed": 2, "commit": "abc"},
    {"what": "configurations", "examples": 9, "tracebacks": 4, "hangs": 3, "seed": 1, "commit": "def+"},
]


def test_drills_of_one_kind_add_up_and_what_was_not_run_has_no_row() -> None:
    rows = drill_log.table(LINES).splitlines()[2:]
    assert rows == [
        "| kills at random moments | 2,200 | 2 mismatches | 1, 2 | `abc` |",
        "| fuzzed configurations | 9 | 4 tracebacks or hangs | 1 | `def+` |",
    ]


def test_the_page_shows_the_log() -> None:
    page = drill_log.PAGE.read_text(encoding="utf-8")
    assert drill_log.filled(page) == page
    assert "kills at random moments" in page
