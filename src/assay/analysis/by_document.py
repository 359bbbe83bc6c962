"""Sums by document: what is left of an evaluation when its rows are gone, and what a bootstrap over documents draws from.

Tokens of one document resemble each other, so an interval must come from drawing whole documents. Where there are more than 256 of
them, they form 256 groups, which are drawn instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.config import Config
from assay.metric import Metric, Summed

MOST = 256
"""Groups of documents that are kept apart."""


class Documents:
    """Numbers documents in the order in which they come, beginning again at 0 after `MOST`."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def numbers(self, documents: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
        """The number of each row's document."""
        known = self._numbers
        return torch.tensor([known.setdefault(one, len(known) % MOST) for one in documents.tolist()], dtype=torch.int64)


class DocumentSums(Config):
    """The sums of one evaluation."""

    inputs: str
    """Digest of what was measured, and on what."""
    text: str
    """Digest of the documents alone: evaluations with the same one read the same documents, in the same groups."""
    arms: dict[str, dict[str, tuple[tuple[float, ...], ...]]]
    """By arm and metric: for each document its sums; the last of them is the number of rows."""

    def of(self, arm: str, metric: str) -> Float[Tensor, "G Q"] | None:
        """The sums of an arm; None where the metric was not measured."""
        found = self.arms.get(arm, {}).get(metric)
        return torch.tensor(found, dtype=torch.float64) if found else None


def plain(by_document: Mapping[str, Float[Tensor, "G Q"]]) -> dict[str, list[list[float]]]:
    """Sums ready for JSON: thirteen digits, without metrics that saw nothing."""
    return {
        name: [[float(f"{value:.13g}") for value in row] for row in sums.tolist()]
        for name, sums in by_document.items()
        if len(sums)
    }


def summed(name: str) -> type[Summed] | None:
    """The metric of a name, if it is registered here and a function of sums."""
    if name not in Metric.registry.names():
        return None
    metric = Metric.registry.named(name)
    return metric if issubclass(metric, Summed) else None


def values(metric: type[Summed], sums: Float[Tensor, "G Q"], weights: Float[Tensor, "R G"]) -> Float[Tensor, " R"]:
    """The metric with documents weighted, for each of R weightings."""
    return metric.of(weights @ sums)


def shared(metrics: Sequence[Mapping[str, object]]) -> list[str]:
    """Names that all tables have, in the order of the first."""
    return [name for name in metrics[0] if all(name in others for others in metrics)] if metrics else []
