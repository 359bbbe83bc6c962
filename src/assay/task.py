"""What every task shares: a question that a dictionary answers inside a model, in scores that have a formula, a floor and a ceiling.

A metric is a sum over rows; a task has work of its own (labelled texts, probes, judges). What all dictionaries share is prepared once.
Where the model fails what a task takes for granted, the task says why and gives no number.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, ClassVar, Literal, TypeAlias, final

from jaxtyping import Float
from torch import Tensor

from assay import config
from assay.activations.source import TextSource
from assay.dictionary import Dictionary
from assay.materials import LanguageModel
from assay.metric import Better
from assay.registry import Registry
from assay.sites import Site

Suite: TypeAlias = Literal["probing", "interp"]
"""What `assay evaluate --suite` calls a group of tasks; `core` is the metrics."""


TOLERANCE = 1e-6
"""Largest difference between a score and the mean of its items."""


class NotApplicable(Exception):
    """The model, or the text, fails what a task takes for granted. The message says what was found and what was needed."""


@dataclass(frozen=True)
class ScoreKind:
    """A score that a task gives."""

    formula: str
    """How it is computed, in a line; reports print it."""
    better: Better
    unit: str = "share"


@dataclass(frozen=True)
class Scores:
    """What a task found of one dictionary."""

    values: Mapping[str, float]
    """By name, for every name in `Task.scores`; NaN where it is not defined."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Whatever a reader may ask next (by class, by quantile, by latent), as JSON."""
    items: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Values of single items (texts, letters), for scores that are their means and where dictionaries share the items; NaN for one that
    has no value, which the mean leaves out."""
    own: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Values of the dictionary's own items (its latents), for scores that are their means."""


@dataclass(frozen=True)
class Cost:
    """What a piece of work takes, from which its seconds are reckoned."""

    to_site: int = 0
    """Tokens that run through the model up to the site."""
    to_end: int = 0
    """Tokens that run through the whole model."""
    shared: Mapping[Any, int] = field(default_factory=dict)
    """Tokens that run up to the site for several tasks, by what they are: whoever comes first pays."""
    seconds: float = 0.0
    """Seconds of everything else, as it was measured on two cores."""


@dataclass(frozen=True, eq=False)
class Bench:
    """The model, the site and the text that dictionaries are tried on."""

    language_model: LanguageModel
    site: Site
    held_out: TextSource
    """Documents that training never saw."""
    sample: Float[Tensor, "N D"]
    """Raw activations that dictionaries were trained on: for principal axes and means."""
    seed: int = 0
    kept: dict[Any, Any] = field(default_factory=dict)
    """What tasks share, such as labelled activations; by a key that says all that it depends on."""


class Task(ABC):
    """A task on a bench. `prepare` once, then `try_on` each dictionary; equal settings, bench and dictionary give equal scores."""

    registry: ClassVar[Registry[type[Task]]] = Registry("task", "assay.tasks")
    name: ClassVar[str]
    suite: ClassVar[Suite]
    paper: ClassVar[str]
    at_site: ClassVar[bool] = False
    """Whether atoms must lie where the dictionary reads; what a transcoder writes is elsewhere."""
    scores: ClassVar[Mapping[str, ScoreKind]]
    """Every score that it gives; the first is the one that a table shows."""

    class Config(config.Config):
        """Settings of a task: a subclass adds its own."""

    def __init_subclass__(cls, *, name: str, suite: Suite, paper: str) -> None:
        cls.name, cls.suite, cls.paper = name, suite, paper
        Task.registry.add(name, cls)

    def __init__(self, settings: Config, bench: Bench) -> None:
        self.settings, self.bench = settings, bench

    @abstractmethod
    def prepare(self) -> None:
        """Do what all dictionaries share. Raises NotApplicable."""

    @abstractmethod
    def score(self, dictionary: Dictionary) -> Scores:
        """Scores of a dictionary, after `prepare`. Raises NotApplicable."""

    @final
    def try_on(self, dictionary: Dictionary) -> Scores:
        """What `score` says of a dictionary that the task can try.

        Raises NotApplicable, and TypeError for other scores than promised, or for items of which a score is not the mean.
        """
        if self.at_site and dictionary.config.maps_to:
            raise NotApplicable(
                "the dictionary reconstructs another site than it reads; needed is one whose atoms lie where it reads"
            )
        found = self.score(dictionary)
        if found.values.keys() != self.scores.keys():
            raise TypeError(f"{self.name} gave {sorted(found.values)}, and promised {sorted(self.scores)}")
        for score, items in (*found.items.items(), *found.own.items()):
            mean = fmean(defined) if (defined := [item for item in items if not math.isnan(item)]) else math.nan
            value = found.values.get(score, math.nan)
            if math.isnan(mean) != math.isnan(value) or abs(mean - value) > TOLERANCE:
                raise TypeError(f"{self.name} gave {score} as {value}, and items with a mean of {mean}")
        return found

    @abstractmethod
    def cost(self) -> tuple[Cost, Cost]:
        """What `prepare` takes, and what `score` takes for each dictionary; asked before either."""
