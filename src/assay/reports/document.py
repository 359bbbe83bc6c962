"""Everything a report says, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import NonNegativeInt, computed_field, field_serializer, field_validator, model_validator

from assay.analysis.examples import LatentPage
from assay.config import Config
from assay.record import Number, Outcome, Record
from assay.reports import findings
from assay.reports.comparison import Comparison


class Explanation(Config):
    """What a metric means."""

    unit: str
    """What it counts."""
    better: str
    """lower, higher, or the target."""
    formula: str
    """How it is computed, with its denominator."""


class Curve(Config):
    """One arm in training: a number for each logged step."""

    step: tuple[int, ...]
    """Steps done."""
    tokens: tuple[int, ...]
    """Rows seen."""
    l0: tuple[Number, ...]
    """Active latents a row of the batch."""
    explained_variance: tuple[Number, ...]
    """1 - error / variance on the batch."""
    dead_fraction: tuple[Number, ...]
    """Share of latents silent for the trainer's window."""
    loss: tuple[Number, ...]
    """Weighted sum of the loss terms."""

    @model_validator(mode="after")
    def _equally_long(self) -> Curve:
        if len({len(values) for values in dict(self).values()}) > 1:
            raise ValueError("lists of equal length")
        return self


RAREST = -30.0
"""Lowest edge of a histogram: no latent can be seen to fire on a smaller share of tokens than 1e-30."""


class Histogram(Config):
    """How often latents fire: counts of latents by log10 of the share of tokens that they fire on."""

    edges: tuple[float, ...]
    """Of the bins, one more than counts, log10; none before the first token."""
    counts: tuple[NonNegativeInt, ...]
    """Latents in each bin."""
    dead: NonNegativeInt
    """Latents that never fired, in no bin."""

    @model_validator(mode="after")
    def _one_edge_more(self) -> Histogram:
        if len(self.edges) != len(self.counts) + bool(self.counts):
            raise ValueError("one edge more than counts, or none of both")
        if list(self.edges) != sorted(set(self.edges)) or any(not RAREST <= edge <= 0 for edge in self.edges):
            raise ValueError(f"rising edges between {RAREST:g} and 0")
        return self


class Report(Config):
    """A report."""

    half_letters: ClassVar[bool] = True

    title: str
    """Its heading."""
    command: str
    """What to type to get it again."""
    provenance: dict[str, str | int | Number] = {}
    """Where the numbers are from: model, site, text, versions, machine."""
    metrics: dict[str, Explanation] = {}
    """What each number of a record means, by name."""
    records: tuple[Record, ...] = ()
    """One a dictionary; in JSON each is one flat table."""
    baselines: tuple[Record, ...] = ()
    """Dictionaries that learnt nothing, measured beside the others."""
    outcomes: tuple[Outcome, ...] = ()
    """What tasks found."""
    comparisons: tuple[Comparison, ...] = ()
    """Families against each other, with intervals."""
    curves: dict[str, Curve] = {}
    """Training by arm."""
    densities: dict[str, Histogram] = {}
    """Firing frequencies by arm."""
    latents: tuple[LatentPage, ...] = ()
    """Latents with their examples."""
    timings: dict[str, Number] = {}
    """Seconds by stage."""

    @computed_field
    @property
    def summary(self) -> list[str]:
        """What was found, computed from the records."""
        return findings.sentences(self.records)

    @field_validator("records", "baselines", mode="before")
    @classmethod
    def _from_rows(cls, records: Any) -> Any:
        return tuple(_from_row(record) for record in records) if isinstance(records, list | tuple) else records

    @field_validator("latents")
    @classmethod
    def _shows_whole_examples(cls, latents: tuple[LatentPage, ...]) -> tuple[LatentPage, ...]:
        return check_examples(latents)

    @field_serializer("records", "baselines")
    def _as_rows(self, records: tuple[Record, ...]) -> list[dict[str, Any]]:
        return [record.row() for record in records]


def check_examples(latents: tuple[LatentPage, ...]) -> tuple[LatentPage, ...]:
    """The same latents. Raises ValueError when an example of theirs is not whole."""
    for example in (example for latent in latents for example in latent.examples):
        if not 0 <= example.peak < len(example.tokens) == len(example.values):
            raise ValueError("examples with a value for each token, and a peak among them")
    return latents


def _from_row(record: Any) -> Any:
    """A record from its flat row: what is no field of a record is one of its values."""
    if not isinstance(record, Mapping) or "values" in record:
        return record
    return Record.unflattened(record)
