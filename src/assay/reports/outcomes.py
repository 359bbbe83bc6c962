"""What tasks found, as text: a line a score, a column a dictionary; and why there is no number where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.record import Outcome
from assay.reports.aligned import aligned
from assay.reports.quantities import UNDEFINED, number
from assay.reports.tokens import visible


@dataclass(frozen=True)
class Tried:
    """A table of what tasks found."""

    arms: tuple[str, ...]
    """In the order in which they were tried."""
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Task and score, and a number an arm."""
    refused: tuple[str, ...]
    """Why tasks gave no number."""


def tried(outcomes: Sequence[Outcome]) -> Tried:
    """Tasks one under another, each with its scores in its own order."""
    arms = tuple(dict.fromkeys(outcome.arm for outcome in outcomes))
    found = {(outcome.task, outcome.arm): outcome for outcome in outcomes}
    rows, refused = [], []
    for task in dict.fromkeys(outcome.task for outcome in outcomes):
        here = [found.get((task, arm)) for arm in arms]
        scores = dict.fromkeys(score for each in here if each for score in each.scores)
        rows += [(f"{task} {score}", tuple(_cell(each, score) for each in here)) for score in scores]
        reasons = dict.fromkeys(each.not_applicable for each in here if each and each.not_applicable)
        refused += [f"{task} is not applicable: {reason}" for reason in reasons]
    return Tried(arms, tuple(rows), tuple(refused))


def outcome_table(outcomes: Sequence[Outcome]) -> str:
    """The table as aligned text for a terminal."""
    found = tried(outcomes)
    lines = [("", *map(visible, found.arms)), *((visible(name), *cells) for name, cells in found.rows)]
    return "\n".join([*aligned(lines), *map(visible, found.refused)])


def _cell(outcome: Outcome | None, score: str) -> str:
    value = outcome.scores.get(score) if outcome else None
    return UNDEFINED if value is None else number(value, 3)
