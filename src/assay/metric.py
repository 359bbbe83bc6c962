"""What every metric shares: what it is shown, how it adds up in float64 over any number of batches, and how it is found by name.

A metric's docstring begins with its formula, and that line is what reports print: a number is never shown under another formula.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes
from assay.registry import Registry

Better: TypeAlias = Literal["lower", "higher", "target"]
"""Which way is better; "target": neither, the number has a value to meet, or describes what others are compared with."""
Reads: TypeAlias = Literal["rows", "predictions"]
"""What a metric is shown: `Rows` of activations, or `Predictions` of the model."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw activations and what one dictionary made of them."""

    x: Float[Tensor, "B D"]
    codes: SparseCodes
    reconstruction: Float[Tensor, "B D"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Next-token predictions at P positions while a model runs with a site's activations changed; everything in nats."""

    clean: Float[Tensor, " P"]
    """Cross-entropy of the model as it is."""
    spliced: Float[Tensor, " P"]
    """Cross-entropy with reconstructions in place of the activations."""
    zero: Float[Tensor, " P"]
    """Cross-entropy with zeros in place of the activations."""
    mean: Float[Tensor, " P"]
    """Cross-entropy with the mean activation in place of the activations."""
    kl: Float[Tensor, " P"]
    """KL(clean || spliced) of the predicted distributions."""


class Metric(ABC):
    """One number about one dictionary. `update` takes a batch, `value` the number over all batches: NaN where it is not defined."""

    registry: ClassVar[Registry[type[Metric]]] = Registry("metric", "assay.metrics")
    name: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Better]
    reads: ClassVar[Reads]

    def __init_subclass__(cls, *, name: str, unit: str, better: Better, reads: Reads) -> None:
        cls.name, cls.unit, cls.better, cls.reads = name, unit, better, reads
        Metric.registry.add(name, cls)

    @classmethod
    def formula(cls) -> str:
        """The first line of the docstring."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]

    @abstractmethod
    def update(self, batch: Any) -> None:
        """Take in a batch: `Rows` or `Predictions`, as `reads` says."""

    @abstractmethod
    def value(self) -> float:
        """The number over everything taken in so far."""


class Mean:
    """Running mean of single numbers."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, values: Float[Tensor, " N"]) -> None:
        """Take in N numbers."""
        self.total += float(values.double().sum())
        self.count += len(values)

    def value(self) -> float:
        """Their mean; NaN when there were none."""
        return ratio(self.total, self.count)


class Covariance:
    """Running E <x - mean x, y - mean y>, by Chan's merge of each batch's own sum and means.

    Rows count from the first one seen: a constant then has a spread of exactly zero, and a large mean costs no digits.
    """

    def __init__(self) -> None:
        self.rows, self.total = 0, 0.0

    def add(self, x: Float[Tensor, "B D"], y: Float[Tensor, "B D"]) -> None:
        """Take in B pairs of rows."""
        if not len(x):
            return
        x, y = x.double(), y.double()
        if not self.rows:
            self.first_x, self.first_y = x[0], y[0]
            self.mean_x, self.mean_y = x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1])
        x, y = x - self.first_x, y - self.first_y
        mean_x, mean_y = x.mean(0), y.mean(0)
        away_x, away_y = mean_x - self.mean_x, mean_y - self.mean_y
        share = len(x) / (self.rows + len(x))
        self.total += float(((x - mean_x) * (y - mean_y)).sum() + self.rows * share * (away_x @ away_y))
        self.mean_x, self.mean_y = self.mean_x + share * away_x, self.mean_y + share * away_y
        self.rows += len(x)

    def value(self) -> float:
        """The covariance summed over the width; NaN before the first row."""
        return ratio(self.total, self.rows)

    def mean_difference(self) -> Float[Tensor, " D"]:
        """Mean y - mean x, once there are rows."""
        return (self.first_y - self.first_x) + (self.mean_y - self.mean_x)


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; NaN where the denominator is zero or NaN."""
    return numerator / denominator if denominator else float("nan")
