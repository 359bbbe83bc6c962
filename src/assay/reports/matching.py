"""Two sweeps compared where both have been: at the same L0, or at the same value, by straight lines in log L0.

Each seed has a line of its own through its points; a family's value is the mean over its seeds, its spread their lowest and highest.
Nothing is ever extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np

from assay.reports.families import Family

Range = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A family's value at one L0 (or its L0 at one value), a number a seed."""

    by_seed: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(self.by_seed)

    @property
    def spread(self) -> Range:
        """Lowest and highest."""
        return min(self.by_seed), max(self.by_seed)

    def overlaps(self, other: Estimate) -> bool:
        """Whether the spreads meet, where at least one of them has several seeds."""
        (low, high), (other_low, other_high) = self.spread, other.spread
        return max(len(self.by_seed), len(other.by_seed)) > 1 and low <= other_high and other_low <= high


@dataclass(frozen=True)
class Frontier:
    """The lines of one family, one for each seed with at least two points."""

    family: Family
    lines: tuple[tuple[tuple[float, float], ...], ...]
    """(L0, value) by rising L0."""

    def l0_range(self) -> Range:
        """L0 that all lines reach."""
        return max(line[0][0] for line in self.lines), min(line[-1][0] for line in self.lines)

    def at(self, l0: float) -> Estimate:
        """Values at an L0 within `l0_range`, linear in log L0."""
        return Estimate(tuple(_interpolate(math.log(l0), *_axes(line)) for line in self.lines))

    def value_range(self) -> Range | None:
        """Values that all lines reach; None when a line does not rise steadily, so that a value has no one L0."""
        if any(after[1] <= before[1] for line in self.lines for before, after in pairwise(line)):
            return None
        return max(line[0][1] for line in self.lines), min(line[-1][1] for line in self.lines)

    def l0_for(self, value: float) -> Estimate:
        """L0 at which a value within `value_range` is reached."""
        return Estimate(tuple(math.exp(_interpolate(value, *reversed(_axes(line)))) for line in self.lines))


def frontier(family: Family, key: str) -> Frontier | None:
    """The lines of a family; None when no seed has two points."""
    lines = [tuple(family.curve(seed, key)) for seed in family.seeds]
    lines = [line for line in lines if len({l0 for l0, _ in line}) > 1]
    return Frontier(family, tuple(lines)) if lines else None


def common(ranges: Sequence[Range | None]) -> Range | None:
    """What all ranges share; None when nothing, or when one of them is None."""
    known = [bounds for bounds in ranges if bounds is not None]
    if len(known) < len(ranges):
        return None
    low, high = max(low for low, _ in known), min(high for _, high in known)
    return (low, high) if low <= high else None


def middle(bounds: Range) -> float:
    """The geometric middle of a range, rounded to two digits where that stays inside."""
    centre = math.sqrt(bounds[0] * bounds[1])
    rounded = float(f"{centre:.2g}")
    return rounded if bounds[0] <= rounded <= bounds[1] else centre


def differences(first: Frontier, second: Frontier, bounds: Range) -> list[float]:
    """first - second at every bend of their lines within a range and at its ends: what holds at all of these holds throughout."""
    bends = {l0 for line in (*first.lines, *second.lines) for l0, _ in line if bounds[0] < l0 < bounds[1]}
    return [first.at(l0).mean - second.at(l0).mean for l0 in sorted(bends | set(bounds))]


def _axes(line: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [math.log(l0) for l0, _ in line], [value for _, value in line]


def _interpolate(x: float, knots: Sequence[float], values: Sequence[float]) -> float:
    return float(np.interp(x, knots, values))
