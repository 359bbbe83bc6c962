"""A variant's frontier on planted data: explained variance against L0, its seeds as dots, Gated and ReLU in grey behind it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from assay.reports.labels import Labels
from assay.reports.svg import Scale, path, tag, tick_labels
from benchmarks.results import Row

WIDTH, HEIGHT = 560.0, 320.0
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .tick, .title { fill: #666 } .grid { stroke: #ddd }
path.other { stroke: #a8b0bb; fill: none; stroke-width: 1.5 } path.own { stroke: #c2571a; fill: none; stroke-width: 2 }
.dot, .name.own { fill: #c2571a } .name.own { font-weight: 650 } .name.other { fill: #7d8794 }
@media (prefers-color-scheme: dark) {
 text { fill: #ddd } .tick, .title { fill: #aaa } .grid { stroke: #444 } path.other { stroke: #5d6673 } }
"""
BEHIND = ("relu", "gated")


def plot(rows: Sequence[Row], name: str) -> str:
    """A whole SVG file."""
    x, y = Scale(1.0, 16.0, 44.0, WIDTH - 70, True), Scale(0.0, 1.0, HEIGHT - 44, 24.0)
    parts = [tag("style", Markup(STYLE)), *_axes(x, y)]
    drawn = [other for other in BEHIND if other != name] + [name]
    lines = {
        variant: [(x(l0), y(value)) for l0, value in _line([row for row in rows if row["variant"] == variant])]
        for variant in drawn
    }
    labels = Labels(44, 24, WIDTH, HEIGHT - 46)
    for places in lines.values():
        labels.avoid_line(places)
    for variant, places in lines.items():
        kind, own = ("own" if variant == name else "other"), [row for row in rows if row["variant"] == variant]
        parts.append(path(places, class_=kind))
        if places:
            parts.append(labels.text(variant, *max(places), class_=f"name {kind}"))
        if variant == name:
            parts += [
                tag("circle", cx=x(row["l0"]), cy=y(row["explained_variance"]), r=2.2, class_="dot")
                for row in own
                if _inside(row)
            ]
    said = f"Explained variance of {name} against L0 on planted data"
    box = f"0 0 {WIDTH:g} {HEIGHT:g}"
    svg = tag(
        "svg",
        tag("title", said),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=box,
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )
    return f"{svg}\n"


def _inside(row: Row) -> bool:
    return 1.0 <= row["l0"] <= 16.0 and 0.0 <= row["explained_variance"] <= 1.0


def _line(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Means over the seeds, a point a dial, in the order of L0."""
    means = []
    for dial in {row["dial"] for row in rows}:
        same = [row for row in rows if row["dial"] == dial and _inside(row)]
        if same:
            means.append((fmean(row["l0"] for row in same), fmean(row["explained_variance"] for row in same)))
    return sorted(means)


def _axes(x: Scale, y: Scale) -> list[Markup]:
    parts = []
    for value, said in zip(y.ticks(), tick_labels(y.ticks()), strict=True):
        parts.append(tag("path", d=f"M{x.start:g},{y(value):.1f}H{x.end:g}", class_="grid"))
        parts.append(tag("text", said, x=x.start - 7, y=y(value) + 4, class_="tick", text_anchor="end"))
    for value in (1, 2, 4, 8, 16):
        parts.append(tag("text", value, x=x(value), y=y.start + 17, class_="tick", text_anchor="middle"))
    parts.append(tag("text", "explained variance", x=0, y=12, class_="title"))
    parts.append(
        tag("text", "L0, active latents a row (log scale)", x=x.end, y=y.start + 36, class_="title", text_anchor="end")
    )
    return parts
