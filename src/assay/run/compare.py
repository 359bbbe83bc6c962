"""The sides that runs offer for comparison, and all pairs of them compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from assay.analysis.bootstrap import Drawing
from assay.errors import MissingMaterial, UnknownName, shown
from assay.reports.comparison import Comparison, Side, compare
from assay.reports.families import families
from assay.run import kept

MOST = 6
"""Pairs that are compared unless they are named."""


def sides(folders: Sequence[Path]) -> list[Side]:
    """The families of the runs, then their baselines. Of several runs each says which it is of. Raises MissingMaterial, CorruptData."""
    found, beside = [], []
    for folder in folders:
        measured, sums = kept.read_measurements(folder), kept.read_document_sums(folder)
        if measured is None or sums is None or measured.inputs != sums.inputs:
            raise MissingMaterial(
                f"{folder} holds no evaluation by document", expected="one", do=f"Run `assay evaluate {folder}`."
            )
        whose = f" of {folder.name}" if len(folders) > 1 else ""
        arms = {name: {metric: sums.tensor(name, metric) for metric in table} for name, table in sums.arms.items()}
        for family in families(measured.records):
            pairs = tuple((record, arms[record.arm]) for record in family.records if record.arm in arms)
            found.append(Side(f"{family.label}{whose}", pairs, sums.text))
        for record in measured.baselines:
            beside.append(Side(f"{record.arm}{whose}", ((record, arms.get(record.arm, {})),), sums.text))
    return [*found, *beside]


def compare_runs(
    folders: Sequence[Path], of: Sequence[str] = (), drawing: Drawing = Drawing()  # noqa: B008 - it is frozen
) -> Iterator[Comparison]:
    """Pairs of families of the runs; those of `of` (families, arms or baselines), or all families, the first pairs of them.

    Raises MissingMaterial, UnknownName, ConfigError.
    """
    offered = sides(folders)
    if of:
        chosen = [_named(name, offered) for name in of]
        pairs = list(combinations(chosen, 2))
    else:
        chosen = [side for side in offered if not _is_baseline(side)]
        pairs = list(combinations(chosen, 2))[:MOST]
    return (compare(first, second, drawing) for first, second in pairs)


def _named(name: str, offered: Sequence[Side]) -> Side:
    """A side by its label, or one of its arms alone."""
    for side in offered:
        if name.casefold() in (side.label.casefold(), side.arms[0][0].variant.casefold()):
            return side
    for side in offered:
        for record, sums in side.arms:
            if name == record.arm or f"{record.arm}{side.label.partition(' of ')[2]}" == name:
                return Side(record.arm, ((record, sums),), side.text)
    arms = [record.arm for side in offered for record, _ in side.arms]
    raise UnknownName(
        f"nothing to compare is called {shown(name)}",
        expected=f"one of {', '.join([side.label for side in offered] + arms)}",
        do="Name two of them.",
    )


def _is_baseline(side: Side) -> bool:
    return "@" in side.arms[0][0].arm
