"""Charts as inline SVG that the page's style sheet colours: no script, no style attribute, real text, the same bytes every time.

Drawn here and not by a plotting library, because a strict content policy forbids the style attributes that libraries write, and
because colours must follow dark mode and print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from assay.reports.quantities import number

XY = tuple[float, float]
CHARACTER = 6.4
"""Mean width of a character at the charts' text size, in user units."""
LINE = 13.0
"""Height of a line of text."""


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """An element; `class_` and `text_anchor` stand for class and text-anchor. Everything is escaped but Markup."""
    written = Markup("").join(
        Markup(' {}="{}"').format(_attribute(key), _value(value)) for key, value in attributes.items()
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{}{}>{}</{}>").format(Markup(name), written, inside, Markup(name))


def _attribute(key: str) -> Markup:
    return Markup("viewBox" if key == "viewBox" else key.rstrip("_").replace("_", "-"))


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 1) + 0:g}"


@dataclass(frozen=True)
class Scale:
    """From a value to a place along an axis, linear or logarithmic."""

    low: float
    high: float
    start: float
    """Where `low` is."""
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values within the scale."""
        return _log_ticks(self.low, self.high, count) if self.log else _linear_ticks(self.low, self.high, count)


def padded(
    values: Iterable[float], start: float, end: float, *, log: bool = False, margin: float = 0.07, least: float = 0.0
) -> Scale:
    """A scale that holds all values, at least one, with a margin at both sides and a range of at least `least`."""
    known = list(values)
    low, high = (math.log(edge) if log else edge for edge in (min(known), max(known)))
    least = max(least, 1e-6 * max(abs(low), abs(high)))  # less would be lost in rounding
    pad = max(margin * (high - low), (least - (high - low)) / 2) or 0.1 * (abs(high) or 1.0)
    low, high = low - pad, high + pad
    return Scale(math.exp(low), math.exp(high), start, end, True) if log else Scale(low, high, start, end)


def _linear_ticks(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda size: abs(math.log(size / rough)))
    return [float(f"{i * step:.12g}") for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5), (1, 2, 3, 4, 5, 6, 8)):
        ticks = [d * 10.0**e for e in decades for d in digits if low <= d * 10.0**e <= high]
        if len(ticks) >= count - 2:
            return ticks
    return _linear_ticks(low, high, count)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Ticks as text, all with the decimals that the finest needs."""
    for decimals in range(6):
        if all(math.isclose(round(tick, decimals), tick, rel_tol=1e-6, abs_tol=1e-12) for tick in ticks):
            return [number(tick, decimals if abs(tick) < 1000 else 0) for tick in ticks]
    return [f"{tick:g}" for tick in ticks]


def path(points: Sequence[XY], **attributes: str | float) -> Markup:
    """A line through points."""
    return tag("path", d="M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points), **attributes)


SHAPES = ((0, 0), (4, 45), (3, 0), (4, 0), (3, 180), (6, 0), (5, 180))
"""(corners, turn in degrees) of the marker of each colour, so that colour is never the only sign; no corners is a circle."""


def marker(kind: int, x: float, y: float, size: float, *children: str, **attributes: str | float) -> Markup:
    """A shape about a point."""
    corners, turn = SHAPES[kind % len(SHAPES)]
    if not corners:
        return tag("circle", *children, cx=x, cy=y, r=size, **attributes)
    reach = size * math.sqrt(2 * math.pi / (corners * math.sin(2 * math.pi / corners)))
    angles = [math.radians(turn + 360 * corner / corners) for corner in range(corners)]
    outline = [(x + reach * math.sin(angle), y - reach * math.cos(angle)) for angle in angles]
    return tag("path", *children, d="M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in outline) + "Z", **attributes)
