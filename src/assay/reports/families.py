"""Which records belong on one line: the arms of one sweep, which differ in their dial and their seed alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from assay.dictionary import Dictionary
from assay.errors import AssayError
from assay.record import Record
from assay.reports.quantities import L0
from assay.reports.tokens import visible

COLOURS = 7
"""Colours and markers that the style sheet and the plots have."""


@dataclass(frozen=True)
class Point:
    """A dial's setting: the mean over its seeds, and each seed's own numbers."""

    dial: float
    l0: float
    value: float
    seeds: tuple[tuple[float, float], ...]
    """(L0, value) of each seed."""


@dataclass(frozen=True, eq=False)
class Family:
    """The arms of one sweep, always in one colour."""

    label: str
    place: int
    """Its place among the families of a report."""
    records: tuple[Record, ...]
    """By dial, then seed."""

    @property
    def colour(self) -> int:
        """Which of the colours it has."""
        return self.place % COLOURS

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Its seeds, sorted."""
        return tuple(sorted({record.seed for record in self.records}))

    @cached_property
    def arms(self) -> dict[str, Record]:
        """Its records by arm."""
        return {record.arm: record for record in self.records}

    def points(self, key: str) -> list[Point]:
        """Mean (L0, value of `key`) of each dial by rising L0, where both are defined and L0 is positive."""
        by_dial: dict[float, list[tuple[float, float]]] = defaultdict(list)
        for record in self.records:
            if pair := _pair(record, key):
                by_dial[record.dial].append(pair)
        points = [
            Point(dial, fmean(l0 for l0, _ in pairs), fmean(value for _, value in pairs), tuple(pairs))
            for dial, pairs in by_dial.items()
        ]
        return sorted(points, key=lambda point: point.l0)

    def curve(self, seed: int, key: str) -> list[tuple[float, float]]:
        """(L0, value of `key`) of one seed, by rising L0."""
        pairs = [_pair(record, key) for record in self.records if record.seed == seed]
        return sorted(pair for pair in pairs if pair)


def families(records: Sequence[Record]) -> list[Family]:
    """Records grouped by the name of their sweep (the arm without dial and seed) or else by variant, in order of that name.

    Records that share dial and seed, or differ in width, are no sweep: each becomes a family of its own.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[_stem(record)].append(record)
    for name, members in list(groups.items()):
        if len({(r.dial, r.seed) for r in members}) < len(members) or len({r.width for r in members}) > 1:
            del groups[name]
            groups.update({record.arm: [record] for record in members})
    kinds = Counter(members[0].variant for members in groups.values())
    return [
        Family(
            label=visible(label(members[0].variant) if kinds[members[0].variant] == 1 else name),
            place=place,
            records=tuple(sorted(members, key=lambda record: (record.dial, record.seed))),
        )
        for place, (name, members) in enumerate(sorted(groups.items()))
    ]


def label(variant: str) -> str:
    """The name of a variant as its paper writes it, or as it is when it is not registered here."""
    try:
        return Dictionary.registry.named(variant).__name__
    except AssayError:
        return variant


def dial(family: Family) -> str:
    """The setting that its dial turns."""
    try:
        return Dictionary.registry.named(family.records[0].variant).Config.dial
    except AssayError:
        return "dial"


def _stem(record: Record) -> str:
    name = record.arm.removesuffix(f"-s{record.seed}").removesuffix(f"-{record.dial:g}")
    return name if name != record.arm else record.variant


def _pair(record: Record, key: str) -> tuple[float, float] | None:
    l0, value = record.values.get(L0.key), record.values.get(key)
    return None if l0 is None or value is None or l0 <= 0 else (l0, value)
