"""What tasks found, as text: a line a score, a column a dictionary; and why there is no number where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from assay.record import Outcome
from assay.reports.quantities import UNDEFINED, number
from assay.reports.tokens import visible


def outcome_table(outcomes: Sequence[Outcome]) -> str:
    """Tasks one under another, each with its scores in its own order; arms in the order in which they were tried."""
    arms = list(dict.fromkeys(outcome.arm for outcome in outcomes))
    found = {(outcome.task, outcome.arm): outcome for outcome in outcomes}
    lines, refused = [["", *map(visible, arms)]], []
    for task in dict.fromkeys(outcome.task for outcome in outcomes):
        here = [found.get((task, arm)) for arm in arms]
        scores = dict.fromkeys(score for each in here if each for score in each.scores)
        lines += [[visible(f"{task} {score}"), *(_cell(each, score) for each in here)] for score in scores]
        refused += [
            f"{task} is not applicable: {why}" for why in dict.fromkeys(o.not_applicable for o in here if o) if why
        ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    ]
    return "\n".join([*table, *map(visible, refused)])


def _cell(outcome: Outcome | None, score: str) -> str:
    value = outcome.scores.get(score) if outcome else None
    return UNDEFINED if value is None else number(value, 3)
