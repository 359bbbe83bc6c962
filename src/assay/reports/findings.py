"""What the records show, in sentences that hold whichever arm wins, and what they cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from assay.record import Record
from assay.reports.families import Family, families
from assay.reports.matching import Estimate, Frontier, Range, common, differences, frontier, middle
from assay.reports.quantities import DEAD, EXPLAINED, GAMMA, L0, LOSS_MEAN, LOSS_ZERO, Quantity, brief, number

COMPARED = {
    LOSS_ZERO: "recovers {} of the loss (zero ablation)",
    LOSS_MEAN: "recovers {} of the loss (mean ablation)",
    EXPLAINED: "explains {} of the variance",
}
"""What is compared at matched L0, higher being better, and how it is said."""
RANKED = {**dict.fromkeys(COMPARED, "best first"), GAMMA: "nearest to 1 first"}
"""What several families are ranked in."""


@dataclass(frozen=True)
class KeyFigure:
    """One number of each family that a reader should see first."""

    label: str
    note: str
    """What it was measured at."""
    values: tuple[tuple[Family, str], ...]


def sentences(records: Sequence[Record]) -> list[str]:
    """Families compared at matched L0, and how far the seeds support it.

    Two families are compared in everything; more of them, all together at one L0 and pair by pair in the first number they share.
    """
    groups = families(records)
    if len(groups) == 2:
        found = _compare(groups[0], groups[1])
    else:
        found = [sentence for quantity in RANKED if (sentence := _together(groups, quantity))]
        found += [sentence for pair in combinations(groups, 2) for sentence in _compare(*pair)[:1]]
    alone = [_nothing_to_compare(groups)] if len(groups) < 2 or not found else []
    return found + alone + (_about_seeds(groups) if found else [])


def key_figures(records: Sequence[Record]) -> list[KeyFigure]:
    """Each family's numbers at an L0 that all of them reach; where there is none, the numbers of a lone record."""
    groups = families(records)
    if len(records) == 1:
        record = records[0]
        known = [q for q in (L0, LOSS_ZERO, EXPLAINED, GAMMA) if record.values.get(q.key) is not None]
        return [KeyFigure(q.label, record.arm, ((groups[0], q.shown(record.values[q.key])),)) for q in known]
    figures = []
    for quantity in (LOSS_ZERO, EXPLAINED, GAMMA):
        lines = _lines(groups, quantity)
        if lines and (bounds := common([line.l0_range() for line in lines])):
            l0 = middle(bounds)
            values = tuple((line.family, quantity.shown(line.at(l0).mean)) for line in lines)
            figures.append(KeyFigure(quantity.label, f"at L0 = {brief(l0)}", values))
    return figures + _needed_l0(groups)


def limits(records: Sequence[Record]) -> list[str]:
    """What a reader must not conclude from these records."""
    groups = families(records)
    found = [_about_tokens(records)] if records else []
    found += [said for said in (_saturation(records), no_loss_to_recover(records)) if said]
    if any(len(group.points("l0")) > 1 for group in groups):
        found.append("Values between measured points are read off straight lines in log L0; nothing is extrapolated.")
    if records and max(len(group.seeds) for group in groups) == 1:
        found.append("One seed an arm: how much of a difference is chance is not known.")
    dying = [r for r in records if (r.values.get(DEAD.key) or 0) > 0.5]
    if dying:
        names = ", ".join(record.arm for record in dying)
        found.append(
            f"More than half of the latents of {names} never fired: they are dead, or rarer than this many tokens can show."
        )
    if len({record.width for record in records}) > 1:
        found.append("The dictionaries differ in width, so a difference between them need not come from their kind.")
    return found


def no_loss_to_recover(records: Sequence[Record]) -> str:
    """A warning where ablation does not raise the loss: a share of that is noise with a sign."""
    for record in records:
        clean, zero, mean = (record.values.get(key) for key in ("ce_clean", "ce_zero", "ce_mean"))
        if clean is None:
            continue
        harmless = {name: ce for name, ce in (("zero", zero), ("mean", mean)) if ce is not None and ce <= clean}
        if harmless:
            return (
                f"Loss recovered says nothing here: with {' and '.join(harmless)} ablation of this site the model predicts no worse "
                f"(cross-entropy {' and '.join(number(ce, 3) for ce in harmless.values())}, and {number(clean, 3)} as it is)."
            )
    return ""


def _compare(first: Family, second: Family) -> list[str]:
    found = []
    for quantity, phrase in COMPARED.items():
        if lines := _lines([first, second], quantity):
            found.append(_at_matched_l0(lines[0], lines[1], quantity, phrase))
    if lines := _lines([first, second], LOSS_ZERO):
        found.append(_at_matched_loss(lines[0], lines[1]))
    if lines := _lines([first, second], GAMMA):
        found.append(_shrinkage(lines[0], lines[1]))
    return [sentence for sentence in dict.fromkeys(found) if sentence]


def _together(groups: Sequence[Family], quantity: Quantity) -> str:
    """All families at one L0 that each of them reaches."""
    lines = _lines(groups, quantity)
    bounds = common([line.l0_range() for line in lines]) if lines else None
    if bounds is None:
        return ""
    l0 = middle(bounds)
    estimates = [(line.family.label, line.at(l0)) for line in lines]
    estimates.sort(key=lambda pair: abs(pair[1].mean - 1) if quantity is GAMMA else -pair[1].mean)
    listed = ", ".join(f"{name} {_estimate(estimate, quantity)}" for name, estimate in estimates)
    order = f", {RANKED[quantity]}" if len(groups) > 1 else ""
    return f"{quantity.label} at L0 = {brief(l0)}{order}: {listed}."


def _lines(groups: Sequence[Family], quantity: Quantity) -> list[Frontier]:
    """The line of each family; nothing when one of them has none."""
    lines = [line for group in groups if (line := frontier(group, quantity.key))]
    return lines if len(lines) == len(groups) else []


def _at_matched_l0(first: Frontier, second: Frontier, quantity: Quantity, phrase: str) -> str:
    bounds = common([first.l0_range(), second.l0_range()])
    if bounds is None:
        return _apart(first, second)
    l0 = middle(bounds)
    ahead, behind = sorted((first, second), key=lambda line: -line.at(l0).mean)
    return (
        f"At L0 = {brief(l0)}, {ahead.family.label} {phrase.format(_estimate(ahead.at(l0), quantity))}, "
        f"{behind.family.label} {_estimate(behind.at(l0), quantity)}; {_verdict(ahead, behind, quantity, l0, bounds)}."
    )


def _verdict(ahead: Frontier, behind: Frontier, quantity: Quantity, l0: float, bounds: Range) -> str:
    if quantity.shown(ahead.at(l0).mean) == quantity.shown(behind.at(l0).mean):
        return f"there is no difference at {quantity.decimals} decimals"
    if ahead.at(l0).overlaps(behind.at(l0)):
        return "the difference is within the spread of the seeds"
    margins = differences(ahead, behind, bounds)
    if min(margins) > 0:
        means = " in the mean" if len(ahead.lines) > 1 or len(behind.lines) > 1 else ""
        return f"{ahead.family.label} is ahead{means} at every L0 from {_range(bounds)}"
    return (
        f"the lines meet or cross between L0 {brief(bounds[0])} and {brief(bounds[1])}, so neither is ahead throughout"
    )


def _apart(first: Frontier, second: Frontier) -> str:
    return (
        f"The L0 ranges of {first.family.label} ({_range(first.l0_range())}) and {second.family.label} "
        f"({_range(second.l0_range())}) do not overlap: they cannot be compared at matched L0."
    )


def _at_matched_loss(first: Frontier, second: Frontier) -> str:
    matched = _matched_loss([first, second])
    if matched is None:
        return ""
    value, (first_l0, second_l0) = matched
    pairs = sorted([(first_l0, first.family.label), (second_l0, second.family.label)], key=lambda pair: pair[0].mean)
    (fewer, sparse), (more, dense) = pairs
    ratio = number(more.mean / fewer.mean, 2)
    said = f"To recover {number(value, 3)} of the loss (zero ablation), "
    levels = f"L0 {_estimate(more, L0)} against {_estimate(fewer, L0)}"
    if ratio == "1.00":
        return f"{said}{dense} and {sparse} need the same L0 ({levels})."
    caveat = "; the difference is within the spread of the seeds" if more.overlaps(fewer) else ""
    return f"{said}{dense} needs {ratio} times the L0 of {sparse} ({levels}{caveat})."


def _matched_loss(lines: Sequence[Frontier]) -> tuple[float, list[Estimate]] | None:
    """The middle of the loss recovered that all lines reach, and the L0 at which each does."""
    bounds = common([line.value_range() for line in lines])
    if bounds is None:
        return None
    centre = sum(bounds) / 2
    value = round(centre, 2) if bounds[0] <= round(centre, 2) <= bounds[1] else centre
    return value, [line.l0_for(value) for line in lines]


def _shrinkage(first: Frontier, second: Frontier) -> str:
    bounds = common([first.l0_range(), second.l0_range()])
    if bounds is None:
        return ""
    l0 = middle(bounds)
    nearer, further = sorted((first, second), key=lambda line: abs(line.at(l0).mean - 1))
    said = (
        f"At L0 = {brief(l0)}, the relative reconstruction bias γ is {_estimate(nearer.at(l0), GAMMA)} for "
        f"{nearer.family.label} and {_estimate(further.at(l0), GAMMA)} for {further.family.label} "
        "(1 is unbiased, below 1 reconstructions shrink); "
    )
    if GAMMA.shown(nearer.at(l0).mean) == GAMMA.shown(further.at(l0).mean):
        return said + f"there is no difference at {GAMMA.decimals} decimals."
    if nearer.at(l0).overlaps(further.at(l0)):
        return said + "the difference is within the spread of the seeds."
    return said + f"{nearer.family.label} is nearer to 1."


def _needed_l0(groups: Sequence[Family]) -> list[KeyFigure]:
    lines = _lines(groups, LOSS_ZERO)
    matched = _matched_loss(lines) if lines else None
    if matched is None:
        return []
    values = tuple((line.family, L0.shown(l0.mean)) for line, l0 in zip(lines, matched[1], strict=True))
    return [KeyFigure("L0 needed", f"to recover {number(matched[0], 3)} of the loss", values)]


def _estimate(estimate: Estimate, quantity: Quantity) -> str:
    mean = quantity.shown(estimate.mean)
    if len(estimate.by_seed) == 1:
        return mean
    low, high = estimate.spread
    return f"{mean} [{quantity.shown(low)}, {quantity.shown(high)}]"


def _range(bounds: Range) -> str:
    return f"{brief(bounds[0])} to {brief(bounds[1])}"


def _about_seeds(groups: Sequence[Family]) -> list[str]:
    counts = {len(group.seeds) for group in groups}
    if counts == {1}:
        return ["One seed: no spread."]
    many = ", ".join(f"{group.label} {len(group.seeds)}" for group in groups)
    return [f"Seeds: {many}. Brackets give the lowest and the highest."]


def _nothing_to_compare(groups: Sequence[Family]) -> str:
    if not groups:
        return "Nothing was measured."
    if len(groups) == 1:
        return f"{groups[0].label} alone was measured: there is nothing to compare it with."
    few = [group.label for group in groups if len({point.l0 for point in group.points(L0.key)}) < 2]
    if few:
        return (
            f"{' and '.join(few)} {'has' if len(few) == 1 else 'have'} fewer than two points: no line to compare along."
        )
    return "The records share no number that could be compared at matched L0."


def _about_tokens(records: Sequence[Record]) -> str:
    fewest, most = min(r.tokens for r in records), max(r.tokens for r in records)
    tokens = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"Every number is from {tokens} held-out tokens of one source, at one site of one model."


def _saturation(records: Sequence[Record]) -> str:
    """How many nats stand behind a hundredth of loss recovered."""
    for record in records:
        clean, zero, mean = (record.values.get(key) for key in ("ce_clean", "ce_zero", "ce_mean"))
        if clean is not None and zero is not None and zero > clean:
            by_mean = (
                f", with mean ablation {number((mean - clean) / 100, 3)}" if mean is not None and mean > clean else ""
            )
            return (
                "Loss recovered is a share of what ablation costs: with zero ablation 0.01 of it is "
                f"{number((zero - clean) / 100, 3)} nats{by_mean}. Compare the raw cross-entropies before small differences."
            )
    return ""
