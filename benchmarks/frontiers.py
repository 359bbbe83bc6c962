"""Loss recovered and gamma against L0, a column for each set of dictionaries: what the pages of measurements show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from assay.record import Record
from assay.reports.families import families
from assay.reports.plot import frontier
from assay.reports.quantities import GAMMA, LOSS_ZERO
from assay.reports.svg import tag
from benchmarks.results import Row

WIDTH, HEIGHT, TITLE = 480, 340, 26
STYLE = """
svg { --bg: #fff; --ink: #1c2026; --soft: #57606b; --faint: #69727d; --grid: #eceef1 }
.v0 { --c: #1666b0 } .v1 { --c: #cf5a10 } .v2 { --c: #0b8562 } .v3 { --c: #a1479a } .v4 { --c: #8f6d00 } .v5 { --c: #1f8fb5 }
@media (prefers-color-scheme: dark) {
 svg { --bg: #15181c; --ink: #e3e6ea; --soft: #a4adb8; --faint: #818b97; --grid: #23282f }
 .v0 { --c: #6bb0f0 } .v1 { --c: #f79a5e } .v2 { --c: #4cc7a0 } .v3 { --c: #dc8fd3 } .v4 { --c: #d8b53f } .v5 { --c: #7ad0ec }
}
.sheet { fill: var(--bg) } text { font: 11.5px system-ui, sans-serif; fill: var(--soft) }
.site, .title { fill: var(--ink); font-weight: 600 } .site { font-size: 15px } .tick, .hint { fill: var(--faint) }
.grid { stroke: var(--grid); fill: none } .axis, .arrow { stroke: var(--faint); fill: none }
.reference { stroke: var(--soft); stroke-dasharray: 2 4; fill: none } .line { stroke: var(--c); stroke-width: 2; fill: none }
.mark { fill: var(--c); stroke: var(--bg); stroke-width: 1.5 } .seed { fill: var(--bg); stroke: var(--c); stroke-width: .9 }
.name { fill: var(--c); font-weight: 650 } .dial { fill: var(--soft); font-size: 10.5px }
.name, .dial, .hint { paint-order: stroke; stroke: var(--bg); stroke-width: 3px; stroke-linejoin: round }
"""


def plot(columns: Mapping[str, Sequence[Row]], title: str) -> str:
    """SVG: loss recovered above gamma; the columns hold rows of records by what is written above them."""
    parts = [tag("style", Markup(STYLE)), tag("rect", width="100%", height="100%", class_="sheet")]
    for place, (name, rows) in enumerate(columns.items()):
        groups = families([Record(**Record.unflattened(row)) for row in rows])
        parts.append(tag("text", name, x=place * WIDTH + 46, y=18, class_="site"))
        for level, drawn in enumerate(
            (frontier(groups, LOSS_ZERO), frontier(groups, GAMMA, reference=(1.0, "unbiased")))
        ):
            box = {"x": place * WIDTH, "y": TITLE + level * HEIGHT, "width": WIDTH, "height": HEIGHT}
            parts.append(tag("svg", drawn or "", **box))
    width, height = WIDTH * len(columns), TITLE + 2 * HEIGHT
    return str(
        tag(
            "svg",
            tag("title", title),
            *parts,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
            role="img",
        )
    )
