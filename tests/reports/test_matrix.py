"""Numbers in rows and columns: the best row first, what is not defined last."""

from __future__ import annotations

from assay.reports.matrix import matrix


def test_rows_are_sorted_by_their_mean() -> None:
    rows = {"low": {"a": 0.1, "b": 0.2}, "none": {"a": None, "b": None}, "high": {"a": 0.9, "b": None}}
    text = matrix(rows, title="f1", best_first=True)
    assert [line.split() for line in text.splitlines()] == [
        ["f1", "a", "b", "mean"],
        ["high", "0.900", "–", "0.900"],
        ["low", "0.100", "0.200", "0.150"],
        ["none", "–", "–", "–"],
    ]
    assert [line.split()[0] for line in matrix(rows, title="l0", best_first=False).splitlines()[1:]] == [
        "low",
        "high",
        "none",
    ]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_no_rows_leave_the_heading() -> None:
    assert matrix({}, title="f1", best_first=True) == "f1  mean"
