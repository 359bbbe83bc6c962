"""A comparison in words and a small table, for the terminal."""

from __future__ import annotations

from assay.analysis.bootstrap import Interval
from assay.reports.aligned import aligned
from assay.reports.comparison import Comparison
from assay.reports.quantities import (
    EXPLAINED,
    GAMMA,
    KNOWN,
    L0,
    LOSS_MEAN,
    LOSS_ZERO,
    UNDEFINED,
    brief,
    number,
    quantity,
)
from assay.reports.tokens import visible

SHOWN = (L0, LOSS_ZERO, LOSS_MEAN, EXPLAINED, GAMMA, KNOWN["kl_recovered_zero"])
"""What is printed; JSON has everything."""


def text(comparison: Comparison, *, whole: bool = False) -> str:
    """The comparison as lines of text; `whole` shows every number."""
    first, second = visible(comparison.first), visible(comparison.second)
    lines = [f"{first} against {second}{_where(comparison)}; {_how(comparison)}"]
    table = [["", first, second, "difference"]]
    order = {item.key: place for place, item in enumerate(SHOWN)}
    for matched in sorted(comparison.metrics, key=lambda matched: order.get(matched.metric, len(order))):
        if whole or matched.metric in order:
            kind = quantity(matched.metric, [matched.first.estimate, matched.second.estimate])
            values = (matched.first, matched.second, matched.difference)
            table.append([visible(kind.label), *(_shown(value, kind.decimals + 1) for value in values)])
    for tried in comparison.tasks:
        table.append(
            [visible(tried.metric), *(_shown(value, 3) for value in (tried.first, tried.second, tried.difference))]
        )
    lines += [f"  {line}" for line in aligned(table, right=False)]
    if ratio := comparison.l0_ratio:
        label = quantity(ratio.metric, []).label
        lines.append(
            f"  {first} needs {_shown(ratio.ratio, 2)} times the L0 of {second} at equal {label} "
            f"(geometric mean over {brief(ratio.low)} to {brief(ratio.high)})"
        )
    if dominance := comparison.dominance:
        label = quantity(dominance.metric, []).label
        sure = max((dominance.first_throughout, first), (dominance.second_throughout, second))
        lines.append(
            f"  {label}: {first} is at least as good over {_shown(dominance.share, 2)} of the common L0; "
            f"{sure[1]} throughout in {100 * sure[0]:.0f} % of the draws"
        )
    return "\n".join(lines)


def _where(comparison: Comparison) -> str:
    if comparison.l0 is None:
        return ", each at its own L0 (they share none)"
    if comparison.l0_low == comparison.l0_high:
        return f" at L0 {brief(comparison.l0)}"
    return f" at L0 {brief(comparison.l0)} (both reach {brief(comparison.l0_low or 0)} to {brief(comparison.l0_high or 0)})"


def _how(comparison: Comparison) -> str:
    seeds = " and ".join(dict.fromkeys(str(count) for count in comparison.seeds))
    alone = "; one seed: chance between seeds is not in the intervals" if max(comparison.seeds) == 1 else ""
    pairs = "the same" if comparison.paired else "not the same"
    return (
        f"[95 % intervals], {comparison.draws:,} draws of {comparison.documents} documents ({pairs} for both) "
        f"and of {seeds} seed{'s' if seeds != '1' else ''}{alone}"
    )


def _shown(value: Interval, decimals: int) -> str:
    if value.estimate is None:
        return UNDEFINED
    if value.low is None or value.high is None:
        return number(value.estimate, decimals)
    return f"{number(value.estimate, decimals)} [{number(value.low, decimals)}, {number(value.high, decimals)}]"
