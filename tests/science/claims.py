"""A claim of a paper, tried where the truth is known: setting, seeds, target, and the verdict that the figures give.

A trial is a function of a seed that returns figures by name; each of its claims holds one of them against a target. Trials live in
`section_*.py`, named for the sections of docs/claims.md.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Measure = Callable[[int], Mapping[str, float]]
COMPARISONS = {">=": operator.ge, "<=": operator.le}
REPRODUCED, PARTLY, NOT = "reproduced", "partly", "not reproduced"


@dataclass(frozen=True)
class Claim:
    """What a paper says of a variant, and which figure of the trial decides."""

    section: str
    """Method, as docs/claims.md has them: "1 Gated"."""
    variant: str
    """Registered name."""
    claim: str
    """What the paper says, in a sentence."""
    metric: str
    """Name of the figure."""
    target: str
    """">= 0.05" or "<= 0.03"."""

    def holds(self, value: float) -> bool:
        """Whether a figure meets the target; NaN does not."""
        sign, bound = self.target.split()
        return COMPARISONS[sign](value, float(bound))

    def verdict(self, values: Sequence[float]) -> str:
        """Reproduced where every seed meets the target, partly where the mean or some seed does."""
        met = [self.holds(value) for value in values]
        if all(met):
            return REPRODUCED
        return PARTLY if any(met) or self.holds(sum(values) / len(values)) else NOT


@dataclass(frozen=True)
class Trial:
    """Claims that one experiment decides."""

    name: str
    setting: str
    """Data, widths, steps: what a reader needs to do it again."""
    claims: tuple[Claim, ...]
    seeds: tuple[int, ...]
    measure: Measure

    def rows(self, figures: Mapping[int, Mapping[str, float]]) -> list[dict[str, Any]]:
        """A row a claim: mean, smallest and largest over the seeds."""
        rows = []
        for claim in self.claims:
            values = [figures[seed][claim.metric] for seed in self.seeds]
            rows.append(
                {
                    **{key: getattr(claim, key) for key in ("section", "variant", "claim")},
                    "setting": self.setting,
                    "metric": claim.metric,
                    "value": sum(values) / len(values),
                    "low": min(values),
                    "high": max(values),
                    "seeds": list(self.seeds),
                    "target": claim.target,
                    "verdict": claim.verdict(values),
                    "trial": self.name,
                }
            )
        return rows


TRIALS: dict[str, Trial] = {}


def trial(setting: str, *claims: Claim, seeds: tuple[int, ...] = (0, 1, 2)) -> Callable[[Measure], Measure]:
    """Register a function of a seed as the trial that decides these claims."""

    def register(measure: Measure) -> Measure:
        name = f"{measure.__module__.rpartition('.')[2].removeprefix('section_')}.{measure.__name__}"
        TRIALS[name] = Trial(name, setting, claims, seeds, measure)
        return measure

    return register


def all_trials() -> dict[str, Trial]:
    """Every trial by name, in the order of the sections."""
    for path in sorted(Path(__file__).parent.glob("section_*.py")):
        importlib.import_module(f"tests.science.{path.stem}")
    return TRIALS
