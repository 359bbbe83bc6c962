"""Two dictionaries against each other in what tasks found of them, over the texts, letters or latents that both were tried on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from assay.analysis.bootstrap import Drawing, Interval, interval
from assay.config import Config
from assay.record import Outcome


class Matched(Config):
    """A number of both sides."""

    metric: str
    """Its name."""
    first: Interval
    """Of the first side."""
    second: Interval
    """Of the second side."""
    difference: Interval
    """First less second, in the same draws."""


def compare_tasks(first: Sequence[Outcome], second: Sequence[Outcome], drawing: Drawing) -> tuple[Matched, ...]:
    """Every score that both sides have; where it is a mean over the same items, these are drawn anew, the same for both.

    A side that was tried with several arms has their means.
    """
    ours, theirs = _scores(first), _scores(second)
    return tuple(_matched(name, ours[name], theirs[name], drawing) for name in ours if name in theirs)


_Score = tuple[float, Tensor | None]
"""A value, and the items that it is the mean of."""


def _scores(outcomes: Sequence[Outcome]) -> dict[str, _Score]:
    """Mean value and mean items of each score."""
    values: dict[str, list[float]] = {}
    items: dict[str, list[tuple[float, ...]]] = {}
    for outcome in outcomes:
        for score, value in outcome.scores.items():
            if value is not None:
                values.setdefault(f"{outcome.task} {score}", []).append(value)
                items.setdefault(f"{outcome.task} {score}", []).append(outcome.items.get(score, ()))
    return {name: (sum(found) / len(found), _mean(items[name])) for name, found in values.items()}


def _mean(items: Sequence[tuple[float, ...]]) -> Float[Tensor, " N"] | None:
    if not items[0] or len({len(each) for each in items}) > 1:
        return None
    return torch.tensor(items, dtype=torch.float64).mean(0)


def _matched(name: str, ours: _Score, theirs: _Score, drawing: Drawing) -> Matched:
    (first, own), (second, other) = ours, theirs
    if own is None or other is None or len(own) != len(other):
        estimates = first, second, first - second
        return Matched(metric=name, **dict(zip(SIDES, map(_alone, estimates), strict=True)))
    weights = drawing.documents(len(own), name).double()
    drawn = [weights @ items / weights.sum(1) for items in (own, other)]
    return Matched(
        metric=name,
        first=interval(first, drawn[0]),
        second=interval(second, drawn[1]),
        difference=interval(first - second, drawn[0] - drawn[1]),
    )


SIDES = ("first", "second", "difference")


def _alone(value: float) -> Interval:
    return Interval(estimate=value, low=None, high=None)
