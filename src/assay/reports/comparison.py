"""Two kinds of dictionaries held against each other where both have been, with intervals over documents and seeds.

At one L0 they are compared in every number that is a function of sums by document; along all L0 that both reach, in how much of it one is
at least as good as the other; and at all values of the loss recovered that both reach, in how many active latents each needs. Lines are
straight in log L0 between measured points, one a seed, averaged over seeds. In a draw the same documents stand for both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from assay.analysis.bootstrap import Drawing, Interval, interval
from assay.analysis.by_document import summed
from assay.config import Config
from assay.errors import ConfigError
from assay.record import Outcome, Record
from assay.reports.matching import Range, common, middle
from assay.reports.quantities import EXPLAINED, L0, LOSS_MEAN, LOSS_ZERO
from assay.reports.tried import Matched, compare_tasks

LEADING = (LOSS_ZERO.key, LOSS_MEAN.key, EXPLAINED.key)
"""Of these, higher being better, the first that both sides have decides about dominance and about the ratio of L0."""
PLACES, VALUES = 33, 17
"""L0 at which dominance is looked for, and values at which L0 is compared."""

Sums = Mapping[str, Float[Tensor, "G Q"]]


class Ratio(Config):
    """How many active latents the first side needs for what the second does with one."""

    metric: str
    """What is equal on both sides."""
    low: float
    """Its values are from here."""
    high: float
    """To here."""
    ratio: Interval
    """Geometric mean over these values of L0 of the first over L0 of the second."""


class Dominance(Config):
    """How far one side is at least as good as the other."""

    metric: str
    """In what."""
    share: Interval
    """Share of the common L0, on a log scale, where the first side is at least as good."""
    first_throughout: float
    """Share of draws in which the first side is at least as good at every L0."""
    second_throughout: float
    """Share of draws in which the second is."""


class Comparison(Config):
    """The first side against the second."""

    first: str
    """What it is called."""
    second: str
    """What it is compared with."""
    l0: float | None
    """Where `metrics` are compared; None where there is no common L0, and each side stands at its own."""
    l0_low: float | None
    """Least L0 that both reach."""
    l0_high: float | None
    """Largest L0 that both reach."""
    documents: int
    """Documents, or groups of them, that were drawn."""
    paired: bool
    """Whether both sides read the same documents."""
    seeds: tuple[int, int]
    """Seeds of each side; one alone is not drawn."""
    draws: int
    """Draws behind each interval."""
    metrics: tuple[Matched, ...]
    """Every number that both sides have."""
    l0_ratio: Ratio | None
    """None where the sides share no value of the loss recovered."""
    dominance: Dominance | None
    """None where the sides share no stretch of L0."""
    tasks: tuple[Matched, ...] = ()
    """Every score of a task that both sides were tried on, at the arms that were tried."""


@dataclass(frozen=True, eq=False)
class Side:
    """Dictionaries that differ in dial and seed alone, and their sums."""

    label: str
    arms: tuple[tuple[Record, Sums], ...]
    text: str
    """Digest of the documents."""
    outcomes: tuple[Outcome, ...] = ()
    """What tasks found of these arms."""

    @property
    def documents(self) -> int:
        """Documents, or groups of them."""
        return len(next(iter(self.arms))[1][L0.key])

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds, rising."""
        return tuple(sorted({record.seed for record, _ in self.arms}))

    def metrics(self) -> list[str]:
        """What every arm has, and is a function of sums."""
        names = set.intersection(*(set(sums) for _, sums in self.arms))
        return [name for name in self.arms[0][1] if name in names and name != L0.key and summed(name)]


def compare(first: Side, second: Side, drawing: Drawing = Drawing()) -> Comparison:  # noqa: B008 - it is frozen
    """Compare two sides. Raises ConfigError when one of them has nothing to compare."""
    for side in (first, second):
        if not side.arms or any(L0.key not in sums for _, sums in side.arms):
            raise ConfigError(
                f"{side.label} has no L0 by document",
                expected="dictionaries that `assay evaluate` measured",
                do="Run `assay evaluate` on their run again.",
            )
    paired = first.text == second.text and first.documents == second.documents
    lines = _Lines(first, drawing, ""), _Lines(second, drawing, "" if paired else "other")
    bounds = common([line.l0_range() for line in lines])
    l0 = middle(bounds) if bounds else None
    names = [name for name in first.metrics() if name in second.metrics()]
    leading = next((name for name in LEADING if name in names), None)
    return Comparison(
        first=first.label,
        second=second.label,
        l0=l0,
        l0_low=bounds[0] if bounds else None,
        l0_high=bounds[1] if bounds else None,
        documents=first.documents,
        paired=paired,
        seeds=(len(first.seeds), len(second.seeds)),
        draws=drawing.draws,
        metrics=tuple(_matched(name, lines, l0) for name in (([] if bounds else [L0.key]) + names)),
        l0_ratio=_ratio(leading, lines) if leading else None,
        dominance=_dominance(leading, lines, bounds) if leading and bounds and bounds[0] < bounds[1] else None,
        tasks=compare_tasks(first.outcomes, second.outcomes, drawing),
    )


class _Lines:
    """The lines of a side, in the measured numbers (place 0) and in each draw (places 1 to R)."""

    def __init__(self, side: Side, drawing: Drawing, other: str) -> None:
        self.side = side
        drawn = drawing.documents(side.documents, other)
        self.weights = torch.cat([drawn.new_ones(1, side.documents), drawn])
        measured = torch.arange(len(side.seeds))[None]
        self.seeds = torch.cat([measured, drawing.seeds(side.seeds)])
        self.log_l0 = [self._of_seed(L0.key, seed).log() for seed in side.seeds]

    def l0_range(self) -> Range:
        """L0 that every seed reaches; of one point a seed, their mean."""
        ends = [points[:, 0].aminmax() for points in self.log_l0]
        low, high = max(float(low) for low, _ in ends), min(float(high) for _, high in ends)
        if all(len(points) == 1 for points in self.log_l0):
            low = high = sum(float(points[0, 0]) for points in self.log_l0) / len(ends)
        return math.exp(low), math.exp(high)

    def at(self, log_l0: Float[Tensor, " M"] | None, metric: str) -> Float[Tensor, "M R"]:
        """The metric at some L0 in each draw: the mean over the seeds that were drawn. Without an L0, over all points as they are."""
        values = [self._of_seed(metric, seed) for seed in self.side.seeds]
        if log_l0 is None:
            lines = [value.mean(0, keepdim=True) for value in values]
        else:
            places = log_l0[:, None].expand(-1, len(self.weights))
            lines = [_interpolated(places, x, y) for x, y in zip(self.log_l0, values, strict=True)]
        by_seed = torch.stack(lines)  # [S M R]
        drawn = self.seeds.T[:, None].expand(-1, by_seed.shape[1], -1)
        return by_seed.gather(0, drawn).mean(0)

    def _of_seed(self, metric: str, seed: int) -> Float[Tensor, "K R"]:
        """The metric of each dial of a seed in each draw."""
        kind = summed(metric)
        assert kind is not None
        arms = [sums[metric] for record, sums in self.side.arms if record.seed == seed]
        return torch.stack([kind.of(self.weights @ sums) for sums in arms])


def _matched(metric: str, lines: Sequence[_Lines], l0: float | None) -> Matched:
    place = None if l0 is None else torch.tensor([math.log(l0)], dtype=torch.float64)
    first, second = (line.at(place, metric)[0] for line in lines)
    return Matched(
        metric=metric, first=_interval(first), second=_interval(second), difference=_interval(first - second)
    )


def _ratio(metric: str, lines: Sequence[_Lines]) -> Ratio | None:
    """L0 at equal value, along the rising edge of each line; in each draw at the values that both lines reach in it."""
    grids, rising = [], []
    for line in lines:
        low, high = line.l0_range()
        if low >= high:
            return None
        grids.append(torch.linspace(math.log(low), math.log(high), 2 * PLACES, dtype=torch.float64))
        rising.append(line.at(grids[-1], metric).cummax(0).values)
    low, high = torch.maximum(rising[0][0], rising[1][0]), torch.minimum(rising[0][-1], rising[1][-1])
    if not low[0] < high[0]:
        return None
    wanted = low + (high - low) * torch.linspace(0, 1, VALUES, dtype=torch.float64)[:, None]
    steps = (
        torch.arange(2 * PLACES, dtype=torch.float64)[:, None] * 1e-12
    )  # so that a level stretch has one L0 for a value
    needed = [
        _interpolated(wanted, values + steps, grid[:, None].expand_as(values))
        for grid, values in zip(grids, rising, strict=True)
    ]
    ratios = torch.where(low < high, (needed[0] - needed[1]).mean(0).exp(), torch.nan)
    return Ratio(metric=metric, low=float(low[0]), high=float(high[0]), ratio=_interval(ratios))


def _dominance(metric: str, lines: Sequence[_Lines], bounds: Range) -> Dominance:
    places = torch.linspace(math.log(bounds[0]), math.log(bounds[1]), PLACES, dtype=torch.float64)
    first, second = (line.at(places, metric) for line in lines)
    ahead, behind = (first >= second).double(), (second >= first).double()
    return Dominance(
        metric=metric,
        share=_interval(ahead.mean(0)),
        first_throughout=float(ahead[:, 1:].amin(0).mean()),
        second_throughout=float(behind[:, 1:].amin(0).mean()),
    )


def _interval(values: Float[Tensor, " R"]) -> Interval:
    return interval(float(values[0]), values[1:])


def _interpolated(at: Float[Tensor, "M R"], x: Float[Tensor, "K R"], y: Float[Tensor, "K R"]) -> Float[Tensor, "M R"]:
    """Straight lines through K points, for each of R sets of them; a little beyond their ends the last stretch goes on."""
    if len(x) == 1:
        return y.expand(len(at), -1)
    order = x.argsort(0)
    x, y = x.gather(0, order), y.gather(0, order)
    place = (x[None] <= at[:, None]).sum(1).sub(1).clamp(0, len(x) - 2)
    x0, x1, y0, y1 = x.gather(0, place), x.gather(0, place + 1), y.gather(0, place), y.gather(0, place + 1)
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
