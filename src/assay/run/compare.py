"""The sides that runs offer for comparison, and pairs of them compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

from assay.analysis.bootstrap import Drawing
from assay.errors import ConfigError, MissingMaterial, UnknownName, shown
from assay.reports.comparison import Comparison, Side, compare
from assay.reports.families import families
from assay.run import kept

MOST = 6
"""Pairs of families that are compared unless they are named."""


@dataclass(frozen=True)
class Offer:
    """A side, and what it may be called."""

    side: Side
    names: tuple[str, ...]
    is_family: bool = False


def offers(folders: Sequence[Path]) -> list[list[Offer]]:
    """What each run has to compare: its families, its baselines, and single arms. Raises MissingMaterial, CorruptData."""
    return [_of_run(folder, f" of {folder.name}" if len(folders) > 1 else "") for folder in folders]


def compare_runs(
    folders: Sequence[Path],
    of: Sequence[str] = (),
    drawing: Drawing = Drawing(),  # noqa: B008 - it is frozen
) -> Iterator[Comparison]:
    """The pairs of what `of` names (families, arms or baselines). Unless named: the first families of one run, or like ones of two.

    Raises MissingMaterial, CorruptData, UnknownName, ConfigError.
    """
    offered = offers(folders)
    if of:
        chosen = [side for name in of for side in _named(name, offered)]
        if len(chosen) < 2:
            raise ConfigError(
                f"{' '.join(map(shown, of))} names one thing", expected="two of them to compare", do="Name another."
            )
        pairs = list(combinations(chosen, 2))
    elif len(offered) == 1:
        pairs = list(combinations(_families(offered[0]), 2))[:MOST]
    else:
        pairs = [pair for one, other in combinations(map(_families, offered), 2) for pair in _across(one, other)]
    return (compare(first, second, drawing) for first, second in pairs)


def _of_run(folder: Path, whose: str) -> list[Offer]:
    measured, sums = kept.read_measurements(folder), kept.read_document_sums(folder)
    if measured is None or sums is None or measured.inputs != sums.inputs:
        raise MissingMaterial(
            f"{folder} holds no evaluation by document", expected="one", do=f"Run `assay evaluate {folder}`."
        )
    tables = {arm: {metric: sums.of(arm, metric) for metric in table} for arm, table in sums.arms.items()}
    arms = {arm: {name: sums for name, sums in table.items() if sums is not None} for arm, table in tables.items()}
    found = []
    for family in families(measured.records):
        pairs = tuple((record, arms.get(record.arm, {})) for record in family.records)
        tried = tuple(outcome for outcome in measured.outcomes if outcome.arm in family.arms)
        side = Side(f"{family.label}{whose}", pairs, sums.text, tried)
        found.append(Offer(side, (side.label, family.label, family.records[0].variant), is_family=True))
    for record in (*measured.baselines, *measured.records):
        tried = tuple(outcome for outcome in measured.outcomes if outcome.arm == record.arm)
        side = Side(f"{record.arm}{whose}", ((record, arms.get(record.arm, {})),), sums.text, tried)
        found.append(Offer(side, (side.label, record.arm, record.variant)))
    return found


def _families(offered: Sequence[Offer]) -> list[Side]:
    return [offer.side for offer in offered if offer.is_family]


def _across(one: Sequence[Side], other: Sequence[Side]) -> list[tuple[Side, Side]]:
    """Families of the same kind in two runs; where no kinds are the same, each with each."""
    pairs = [*product(one, other)]
    alike = [(first, second) for first, second in pairs if first.arms[0][0].variant == second.arms[0][0].variant]
    return alike or pairs[:MOST]


def _named(name: str, offered: Sequence[Sequence[Offer]]) -> list[Side]:
    """What is called so in each run: a family before an arm of that variant."""
    found = []
    for offers in offered:
        called = [offer.side for offer in offers if name.casefold() in map(str.casefold, offer.names)]
        found += called[:1]
    if not found:
        known = dict.fromkeys(offer.names[1] for offers in offered for offer in offers)
        raise UnknownName(
            f"nothing to compare is called {shown(name)}", expected=f"one of {', '.join(known)}", do="Name two of them."
        )
    return found
