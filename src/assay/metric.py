"""What every metric shares: what it is shown, how it adds up in float64 over any number of batches, and how it is found by name.

A metric's docstring begins with its formula, and that line is what reports print: a number is never shown under another formula.
Most metrics are a function of sums over rows (`Summed`). Their sums are kept by document, so that documents can be drawn anew.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.codes import SparseCodes
from assay.registry import Registry

Better: TypeAlias = Literal["lower", "higher", "target"]
"""Which way is better; "target": neither, the number has a value to meet, or describes what others are compared with."""
Reads: TypeAlias = Literal["rows", "predictions", "weights"]
"""What a metric is shown: `Rows` of activations, `Predictions` of the model, or, once, the `Dictionary` itself."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw activations and what one dictionary made of them."""

    x: Float[Tensor, "B D"]
    codes: SparseCodes
    reconstruction: Float[Tensor, "B D"]
    documents: Int[Tensor, " B"] | None = None
    """The document of each row, numbered from 0; None where nobody knows."""
    typical: Float[Tensor, " D"] | None = None
    """The mean of the activations that dictionaries were trained on."""


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
    kl_zero: Float[Tensor, " P"]
    """KL(clean || zero)."""
    kl_mean: Float[Tensor, " P"]
    """KL(clean || mean)."""
    documents: Int[Tensor, " P"] | None = None
    """The document of each position, numbered from 0; None where nobody knows."""


class Metric(ABC):
    """One number about one dictionary. `update` takes a batch, `value` the number over all batches: NaN where it is not defined."""

    registry: ClassVar[Registry[type[Metric]]] = Registry("metric", "assay.metrics")
    name: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Better]
    reads: ClassVar[Reads]

    def __init_subclass__(
        cls, *, name: str = "", unit: str = "", better: Better = "target", reads: Reads = "rows", abstract: bool = False
    ) -> None:
        if abstract:
            return
        if not name:
            raise TypeError(f"{cls.__qualname__} needs a name: class {cls.__qualname__}(Metric, name=..., unit=...)")
        cls.name, cls.unit, cls.better, cls.reads = name, unit, better, reads
        Metric.registry.add(name, cls)

    @classmethod
    def formula(cls) -> str:
        """The first line of the docstring."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]

    @abstractmethod
    def update(self, batch: Any) -> None:
        """Take in a batch: `Rows` or `Predictions`, or the dictionary, as `reads` says."""

    @abstractmethod
    def value(self) -> float:
        """The number over everything taken in so far."""


class Summed(Metric, abstract=True):
    """A metric that is a function of sums over rows (or predictions): each document has its sums, so that any choice of them has a value.

    `parts` says what a row adds, `of` what the sums make. The last sum is always the number of rows.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    @abstractmethod
    def parts(self, batch: Any) -> Float[Tensor, "N P"]:
        """What each row adds, in float64."""

    @staticmethod
    def of(sums: Float[Tensor, "... Q"]) -> Float[Tensor, ...]:
        """The number that sums make; by default the mean of the first part. NaN where it is not defined."""
        return quotient(sums[..., 0], sums[..., -1])

    def settled(self, sums: Float[Tensor, "G P"]) -> Float[Tensor, "G Q"]:
        """The sums by document once all are there, such as those about a mean that is known only then."""
        return sums

    @final
    def update(self, batch: Any) -> None:
        parts = self.parts(batch)
        if not len(parts):
            return
        parts = torch.cat([parts, parts.new_ones(len(parts), 1)], 1).cpu()
        if batch.documents is None:  # one row, whose sum is the more exact one
            parts, documents = parts.sum(0, keepdim=True), torch.zeros(1, dtype=torch.int64)
        else:
            documents = batch.documents.cpu()
        sums = parts.new_zeros(0, parts.shape[1]) if self._sums is None else self._sums
        if (missing := int(documents.max()) + 1 - len(sums)) > 0:
            sums = torch.cat([sums, sums.new_zeros(missing, sums.shape[1])])
        self._sums = sums.index_add_(0, documents, parts)

    @final
    def value(self) -> float:
        return float("nan") if self._sums is None else float(self.of(self.by_document().sum(0)))

    @final
    def by_document(self) -> Float[Tensor, "G Q"]:
        """Sums of each document: `of` any weighting of them is the value with documents weighted so. Nothing seen, no documents."""
        return torch.zeros(0, 1, dtype=torch.float64) if self._sums is None else self.settled(self._sums)


def quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Entry by entry; NaN where the denominator is zero or NaN."""
    return torch.where(denominator != 0, numerator / denominator, torch.nan)
