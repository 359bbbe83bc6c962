"""Sums by document: what is left of an evaluation when its rows are gone, and what a bootstrap over documents draws from.

Tokens of one document resemble each other, so an interval must come from drawing whole documents. Where there are more than 256 of
them, they form 256 groups, which are drawn instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from pydantic import field_validator
from torch import Tensor

from assay.config import Config
from assay.metric import Metric, Summed
from assay.record import Number

Table: TypeAlias = tuple[tuple[float, ...], ...]

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
    arms: dict[str, dict[str, tuple[tuple[Number, ...], ...]]]
    """By arm and metric: for each document its sums; the last of them is the number of rows."""

    @field_validator("arms")
    @classmethod
    def _are_tables(cls, arms: dict[str, dict[str, Table]]) -> dict[str, dict[str, Table]]:
        for tables in arms.values():
            if len({len(table) for table in tables.values()}) > 1:
                raise ValueError("as many documents for each metric of an arm")
            for name, table in tables.items():
                metric = summed(name)
                if not table or len({len(row) for row in table}) > 1:
                    raise ValueError("documents with equally many sums")
                if metric and not _fits(metric, table):
                    raise ValueError(f"sums that {name} is a function of")
        return arms

    def of(self, arm: str, metric: str) -> Float[Tensor, "G Q"] | None:
        """The sums of an arm; None where the metric was not measured."""
        found = self.arms.get(arm, {}).get(metric)
        return torch.tensor(found, dtype=torch.float64) if found else None


def plain(by_document: Mapping[str, Float[Tensor, "G Q"]]) -> dict[str, list[list[float]]]:
    """Sums ready for JSON: thirteen digits, as many documents for each metric, without metrics that saw nothing."""
    documents = max(map(len, by_document.values()), default=0)
    return {
        name: [[float(f"{value:.13g}") for value in row] for row in padded(sums, documents).tolist()]
        for name, sums in by_document.items()
        if len(sums)
    }


def padded(sums: Float[Tensor, "G Q"], documents: int) -> Float[Tensor, "H Q"]:
    """Sums with documents added of which nothing was seen."""
    return torch.cat([sums, sums.new_zeros(documents - len(sums), sums.shape[1])])


def summed(name: str) -> type[Summed] | None:
    """The metric of a name, if it is registered here and a function of sums."""
    if name not in Metric.registry.names():
        return None
    metric = Metric.registry.named(name)
    return metric if issubclass(metric, Summed) else None


def _fits(metric: type[Summed], table: Table) -> bool:
    try:
        return metric.of(torch.tensor(table[0], dtype=torch.float64)).ndim == 0
    except IndexError:
        return False
