"""Two dictionaries against each other in what tasks found of them, over the texts, letters or latents that both were tried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Every score that both sides have; where it is a mean over items, these are drawn anew.

    Items that the sides share are drawn the same for both; those of a dictionary's own, such as its latents, apart. A side that was tried
    with several arms has their means.
    """
    ours, theirs = _scores(first), _scores(second)
    return tuple(_matched(name, ours[name], theirs[name], drawing) for name in ours if name in theirs)


@dataclass(frozen=True)
class _Score:
    """A value, and what it is the mean of."""

    value: float
    items: Tensor | None
    """Those that dictionaries share, in the mean of the arms."""
    own: tuple[Tensor, ...]
    """Those of each arm's own; none where an arm has none."""


def _scores(outcomes: Sequence[Outcome]) -> dict[str, _Score]:
    values: dict[str, list[float]] = {}
    items: dict[str, list[tuple[float, ...]]] = {}
    own: dict[str, list[tuple[float, ...]]] = {}
    for outcome in outcomes:
        for score, value in outcome.scores.items():
            if value is not None:
                values.setdefault(f"{outcome.task} {score}", []).append(value)
                items.setdefault(f"{outcome.task} {score}", []).append(outcome.items.get(score, ()))
                own.setdefault(f"{outcome.task} {score}", []).append(outcome.own.get(score, ()))
    return {
        name: _Score(sum(found) / len(found), _mean(items[name]), _each(own[name])) for name, found in values.items()
    }


def _mean(items: Sequence[tuple[float, ...]]) -> Float[Tensor, " N"] | None:
    if not items[0] or len({len(each) for each in items}) > 1:
        return None
    return torch.tensor(items, dtype=torch.float64).mean(0)


def _each(own: Sequence[tuple[float, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(each, dtype=torch.float64) for each in own) if all(own) else ()


def _matched(name: str, ours: _Score, theirs: _Score, drawing: Drawing) -> Matched:
    first, second = ours.value, theirs.value
    if (drawn := _drawn(name, ours, theirs, drawing)) is None:
        estimates = first, second, first - second
        return Matched(metric=name, **dict(zip(SIDES, map(_alone, estimates), strict=True)))
    return Matched(
        metric=name,
        first=interval(first, drawn[0]),
        second=interval(second, drawn[1]),
        difference=interval(first - second, drawn[0] - drawn[1]),
    )


def _drawn(name: str, ours: _Score, theirs: _Score, drawing: Drawing) -> tuple[Tensor, Tensor] | None:
    """Values of both sides in each draw; None where nothing can be drawn."""
    if ours.items is not None and theirs.items is not None and len(ours.items) == len(theirs.items):
        weights = drawing.documents(len(ours.items), name).double()
        return weights @ ours.items / len(ours.items), weights @ theirs.items / len(theirs.items)
    if ours.own and theirs.own:
        return _apart(f"{name} first", ours.own, drawing), _apart(f"{name} second", theirs.own, drawing)
    return None


def _apart(purpose: str, own: Sequence[Tensor], drawing: Drawing) -> Float[Tensor, " R"]:
    """The mean of the arms' means, the items of each arm drawn by itself."""
    counts = [drawing.documents(len(each), f"{purpose} {place}").double() for place, each in enumerate(own)]
    return torch.stack([count @ each / len(each) for count, each in zip(counts, own, strict=True)]).mean(0)


SIDES = ("first", "second", "difference")


def _alone(value: float) -> Interval:
    return Interval(estimate=value, low=None, high=None)
