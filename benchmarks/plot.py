"""The plot of one training step: a bar an arm, in encoder products; a line marks one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from markupsafe import Markup

from assay.reports.svg import Scale, tag, tick_labels
from benchmarks.results import Row
from benchmarks.tables import label, number, ordered, preferred

WIDTH, LEFT, RIGHT, TOP, LINE, GAP = 760.0, 250.0, 60.0, 14.0, 17.0, 9.0
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .tick, .title { fill: #666 } .grid { stroke: #ddd } .unit { stroke: #888 }
.other { fill: #b8bec8 } .assay { fill: #c2571a } .torch { fill: #7d8794 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .tick, .title { fill: #aaa } .grid { stroke: #444 } .other { fill: #5d6673 } }
"""


def plot(rows: Sequence[Row]) -> str:
    """A whole SVG file."""
    drawn = [row for row in ordered(preferred(rows)) if row["variant"] != "encoder product"]
    kinds = [row["variant"].split()[0] for row in drawn]
    gaps = [0, *accumulate(int(before != after) for before, after in pairwise(kinds))]
    levels = [TOP + place * LINE + gap * GAP for place, gap in enumerate(gaps[: len(drawn)])]
    bottom = (levels[-1] if levels else TOP) + LINE
    most = max((row["units"] for row in drawn), default=1.0)
    scale = Scale(0.0, max(most, 2.0), LEFT, WIDTH - RIGHT)
    parts = [tag("style", Markup(STYLE)), *axis(scale, bottom)]
    for row, level in zip(drawn, levels, strict=True):
        parts += bar(row, scale, level)
    said = "; ".join(f"{label(row)}, {row['library']}: {number(row['units'], 1)}" for row in drawn)
    return str(figure(bottom + 44, said, parts)) + "\n"


def bar(row: Row, scale: Scale, level: float) -> list[Markup]:
    """A bar with its name to the left and its number to the right."""
    end, kind = scale(row["units"]), row["library"] if row["library"] in ("assay", "torch") else "other"
    return [
        tag("text", f"{label(row)} · {row['library']}", x=LEFT - 8, y=level + 12, text_anchor="end"),
        tag("rect", x=LEFT, y=level + 2, width=end - LEFT, height=LINE - 4, class_=kind),
        tag("text", number(row["units"], 1), x=end + 5, y=level + 12),
    ]


def axis(scale: Scale, bottom: float) -> list[Markup]:
    """Grid lines with their numbers, and what the axis shows."""
    ticks = sorted({1.0, *scale.ticks(6)})
    parts = []
    for tick, text in zip(ticks, tick_labels(ticks), strict=True):
        parts.append(
            tag("path", d=f"M{scale(tick):.1f},{TOP:g}V{bottom + 4:g}", class_="unit" if tick == 1 else "grid")
        )
        parts.append(tag("text", text, x=scale(tick), y=bottom + 18, class_="tick", text_anchor="middle"))
    title = "time of one training step, in encoder products"
    return [*parts, tag("text", title, x=scale.end, y=bottom + 36, class_="title", text_anchor="end")]


def figure(height: float, said: str, parts: Sequence[Markup]) -> Markup:
    """The SVG element, with its words for those who don't see it."""
    box = f"0 0 {WIDTH:g} {height:g}"
    inside = [tag("title", f"Time of one training step in encoder products. {said}."), *parts]
    return tag("svg", *inside, xmlns="http://www.w3.org/2000/svg", viewBox=box, width=WIDTH, height=height, role="img")
