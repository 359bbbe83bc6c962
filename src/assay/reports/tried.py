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
    """Every score that both sides have; where it is a mean over items, these are drawn anew, and so are the arms (seeds) of a side.

    Items that the sides share are drawn the same for both; those of a dictionary's own, such as its latents, apart. Arms are drawn in the
    same places where both sides have as many. A side that was tried with several arms has their means.
    """
    ours, theirs = _scores(first), _scores(second)
    return tuple(_matched(name, ours[name], theirs[name], drawing) for name in ours if name in theirs)


@dataclass(frozen=True)
class _Score:
    """A value of each arm, and what it is the mean of."""

    values: Float[Tensor, " A"]
    items: Float[Tensor, "A N"]
    """Those that dictionaries share, NaN where one is not defined; N is 0 unless every arm has as many."""
    own: tuple[Tensor, ...]
    """Those of each arm's own; none where an arm has none."""

    @property
    def value(self) -> float:
        """The mean over arms."""
        return float(self.values.mean())


def _scores(outcomes: Sequence[Outcome]) -> dict[str, _Score]:
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        for score, value in outcome.scores.items():
            if value is not None:
                found.setdefault(f"{outcome.task} {score}", []).append(outcome)
    return {name: _score(name.rpartition(" ")[2], arms) for name, arms in found.items()}


def _score(score: str, arms: Sequence[Outcome]) -> _Score:
    items = [_tensor(arm.items.get(score, ())) for arm in arms]
    own = tuple(_tensor(arm.own.get(score, ())) for arm in arms)
    alike = len({len(each) for each in items}) == 1
    return _Score(
        _tensor([arm.scores[score] for arm in arms]),
        torch.stack(items) if alike else torch.empty(len(arms), 0, dtype=torch.float64),
        own if all(map(len, own)) else (),
    )


def _tensor(values: Sequence[float | None]) -> Float[Tensor, " N"]:
    return torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)


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
    """Values of both sides in each draw; None where one of them has nothing to draw."""
    count = ours.items.shape[1]
    if count and count == theirs.items.shape[1]:
        weights = drawing.documents(count, name)
        by_arm = _weighted(weights, ours.items), _weighted(weights, theirs.items)
    elif ours.own and theirs.own:
        return _apart(f"{name} first", ours.own, drawing), _apart(f"{name} second", theirs.own, drawing)
    elif min(len(ours.values), len(theirs.values)) > 1:
        by_arm = ours.values.expand(drawing.draws, -1), theirs.values.expand(drawing.draws, -1)
    else:
        return None
    return _of_drawn_arms(by_arm[0], drawing), _of_drawn_arms(by_arm[1], drawing)


def _of_drawn_arms(by_arm: Float[Tensor, "R A"], drawing: Drawing) -> Float[Tensor, " R"]:
    """The mean over as many arms as there are, drawn anew."""
    return by_arm.gather(1, drawing.seeds(range(by_arm.shape[1]))).mean(1)


def _weighted(weights: Float[Tensor, "R N"], items: Float[Tensor, "A N"]) -> Float[Tensor, "R A"]:
    """Means of the items that are defined."""
    return weights @ items.nan_to_num().T / (weights @ items.isfinite().double().T)


def _apart(purpose: str, own: Sequence[Tensor], drawing: Drawing) -> Float[Tensor, " R"]:
    """The mean over arms that are drawn anew, and the items of each of these by itself, even where an arm is drawn twice."""
    arms, found = drawing.seeds(range(len(own))), []
    for place, drawn in enumerate(arms.T):
        counts = [drawing.documents(len(each), f"{purpose} {place} {arm}") for arm, each in enumerate(own)]
        means = torch.stack([count @ each / len(each) for count, each in zip(counts, own, strict=True)])
        found.append(means.gather(0, drawn[None])[0])
    return torch.stack(found).mean(0)


SIDES = ("first", "second", "difference")


def _alone(value: float) -> Interval:
    return Interval(estimate=value, low=None, high=None)
