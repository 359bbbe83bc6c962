"""What each part of Gated is worth: a section of docs/gated_pareto.md, and its plot, from docs/results/language/gated_ablations.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from assay.record import Record
from assay.reports import matching
from assay.reports.families import Family, families
from benchmarks.frontiers import plot
from benchmarks.results import ROOT, Row
from benchmarks.tables import number, table

RESULT, PLOT = (ROOT / "docs" / name for name in ("results/language/gated_ablations.json", "gated_ablations.svg"))
SETTING = "Arms at the residual stream"


def write_plot() -> None:
    """Draw it, if the recipe was run."""
    if RESULT.exists():
        PLOT.write_text(drawn(_read()["records"]), encoding="utf-8")


def drawn(records: Sequence[Row]) -> str:
    """All arms in one column."""
    return plot({SETTING: records}, "Loss recovered and gamma of Gated, its ablations and ReLU against L0")


def section(found: Mapping[str, Any] | None = None) -> str:
    """A row an arm at an L0 that all reach, and a row a claim."""
    if found is None and not RESULT.exists():
        return "The ablation arms wait for `python -m tests.science --language gated_ablations`."
    found = found or _read()
    groups = families([Record(**Record.unflattened(row)) for row in found["records"]])
    meta, rows = found["meta"], found["rows"]
    return f"""## What each part is worth

{rows[0]["setting"]}. Spreads are the smallest and the largest of {len(rows[0]["seeds"])} seeds.
`{meta["command"]}` measured this in
{sum(meta["seconds"].values()) / 3600:.1f} hours ({meta["date"]}, {meta["machine"]}).

{arms(groups)}

![Loss recovered and gamma against L0 for all arms](gated_ablations.svg)

{claims(rows)}"""


def arms(groups: Sequence[Family]) -> str:
    """Loss recovered at the middle of the L0 that all arms reach, and gamma over all dictionaries of an arm."""
    lines = [matching.frontier(each, "loss_recovered_zero") for each in groups]
    bounds = matching.common([each.l0_range() if each else None for each in lines])
    l0 = matching.middle(bounds) if bounds else None
    head = ("arm", "width", "L0 reached", f"loss recovered at L0 {number(l0, 0)}", "gamma")
    body = []
    for each, line in zip(groups, lines, strict=True):
        reached, gammas = (
            [value for record in each.records if (value := record.values[key]) is not None]
            for key in ("l0", "relative_reconstruction_bias")
        )
        at = line.at(l0) if line and l0 else None
        body.append(
            (
                each.label,
                f"{each.records[0].width:,}",
                f"{min(reached):.1f} to {max(reached):.1f}",
                _spread(at.mean, *at.spread) if at else number(None),
                _spread(sum(gammas) / len(gammas), min(gammas), max(gammas)),
            )
        )
    return table(head, body)


def claims(rows: Sequence[Row]) -> str:
    """What the paper says, and what came out."""
    head = ("the paper's claim", "figure", "mean (low to high)", "target", "verdict")
    body = [
        (
            row["claim"],
            row["metric"].replace("|", r"\|"),
            _spread(row["value"], row["low"], row["high"]),
            row["target"],
            row["verdict"],
        )
        for row in rows
    ]
    return table(head, body)


def _spread(mean: float, low: float, high: float) -> str:
    return f"{number(mean, 3)} ({number(low, 3)} to {number(high, 3)})"


def _read() -> dict[str, Any]:
    return json.loads(RESULT.read_text(encoding="utf-8"))
