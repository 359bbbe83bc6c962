"""The figures: frontiers over L0, training curves, densities. Each is one SVG that says in words what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from assay.reports.families import Family, Point
from assay.reports.labels import Labels
from assay.reports.quantities import L0, Quantity, number, significant
from assay.reports.svg import Scale, marker, padded, path, tag, tick_labels

POINTS = 240
"""Points of a training curve that are drawn."""
LEAST = 0.02
"""Smallest range of a frontier's vertical axis: smaller differences should look small."""
LABELLED = 16
"""Most dials whose training curves are labelled one by one."""


@dataclass(frozen=True)
class Series:
    """One arm's training curve."""

    family: Family
    arm: str
    tokens: Sequence[int]
    values: Sequence[float]

    @property
    def dial(self) -> float:
        """Its dial."""
        return self.family.arms[self.arm].dial


@dataclass(frozen=True)
class Bars:
    """One arm's histogram over log10 of the firing frequency."""

    arm: str
    edges: Sequence[float]
    counts: Sequence[int]
    dead: int


@dataclass(frozen=True)
class Frame:
    """The axes of a chart."""

    x: Scale
    y: Scale

    def draw(self, x_title: str, y_title: str, shown: Callable[[float], float] = float) -> list[Markup]:
        """Grid, tick labels and titles; `shown` turns a y value into what its tick says."""
        left, right, bottom = self.x.start, self.x.end, self.y.start
        y_ticks, x_ticks = self.y.ticks(), self.x.ticks(6)
        parts = [tag("text", y_title, x=0, y=11, class_="title")]
        for value, said in zip(y_ticks, tick_labels([shown(tick) for tick in y_ticks]), strict=True):
            parts.append(tag("path", d=f"M{left:g},{self.y(value):.1f}H{right:g}", class_="grid"))
            parts.append(tag("text", said, x=left - 7, y=self.y(value) + 4, class_="tick", text_anchor="end"))
        for value, said in zip(x_ticks, tick_labels(x_ticks), strict=True):
            parts.append(tag("path", d=f"M{self.x(value):.1f},{bottom:g}v4", class_="axis"))
            parts.append(tag("text", said, x=self.x(value), y=bottom + 17, class_="tick", text_anchor="middle"))
        parts.append(tag("path", d=f"M{left:g},{bottom:g}H{right:g}", class_="axis"))
        parts.append(tag("text", x_title, x=right, y=bottom + 34, class_="title", text_anchor="end"))
        return parts


def figure(width: int, height: int, said: str, parts: Sequence[str]) -> Markup:
    """An SVG of a size in user units, described in words for who cannot see it."""
    return tag("svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=said)


def frontier(
    groups: Sequence[Family], quantity: Quantity, *, reference: tuple[float, str] | None = None
) -> Markup | None:
    """A quantity against L0 (log): a line through each family's means, each seed a dot. None without two points.

    `reference` is a level to meet, and its name; without one, higher is better.
    """
    points = {group.place: group.points(quantity.key) for group in groups}
    pairs = [pair for members in points.values() for point in members for pair in point.seeds]
    if len(pairs) < 2:
        return None
    width, height = 480, 340
    x = padded([l0 for l0, _ in pairs], 46, width - 14, log=True, margin=0.08)
    y = padded(
        [value for _, value in pairs] + ([reference[0]] if reference else []), height - 44, 30, margin=0.1, least=LEAST
    )
    frame, labels = Frame(x, y), Labels(46, 30, width - 4, height - 46)
    parts = frame.draw("L0, active latents a token (log scale)", quantity.label)
    if reference:
        parts += _reference(frame, labels, *reference)
    for group in groups:
        places = [(x(point.l0), y(point.value)) for point in points[group.place]]
        labels.avoid_line(places)
        for place in places:
            labels.avoid_point(*place)
    if not reference:
        parts.append(_arrow(labels))
    names = {group.place: _name(group, points[group.place], x, y, labels) for group in groups}
    marks = [_marks(group, points[group.place], x, y, labels, quantity, names[group.place]) for group in groups]
    return figure(width, height, _said(groups, points, quantity), [*parts, *marks])


def _name(group: Family, points: Sequence[Point], x: Scale, y: Scale, labels: Labels) -> Markup:
    """The family's name at the end of its line."""
    return labels.text(group.label, x(points[-1].l0), y(points[-1].value), class_="name") if points else Markup("")


def _marks(
    group: Family, points: Sequence[Point], x: Scale, y: Scale, labels: Labels, quantity: Quantity, name: Markup
) -> Markup:
    places = [(x(point.l0), y(point.value)) for point in points]
    parts = [path(places, class_="line")] if len(places) > 1 else []
    for point, place in zip(points, places, strict=True):
        said = f"{group.label}, dial {point.dial:g}: L0 {L0.shown(point.l0)}, {quantity.label} {quantity.shown(point.value)}"
        parts.append(marker(group.colour, *place, 4.5, tag("title", said), class_="mark"))
        if len(point.seeds) > 1:
            parts += [tag("circle", cx=x(l0), cy=y(value), r=1.7, class_="seed") for l0, value in point.seeds]
        parts.append(labels.text(f"{point.dial:g}", *place, class_="dial"))
    return tag("g", *parts, name, class_=f"v{group.colour}")


def _reference(frame: Frame, labels: Labels, value: float, name: str) -> list[Markup]:
    level = frame.y(value)
    labels.avoid_line([(frame.x.start, level), (frame.x.end, level)])
    return [
        tag("path", d=f"M{frame.x.start:g},{level:.1f}H{frame.x.end:g}", class_="reference"),
        labels.text(name, frame.x.start + 28, level, class_="hint"),
    ]


def _arrow(labels: Labels) -> Markup:
    """Up and to the left is better: fewer latents, more of the activation."""
    x, y = 58.0, 40.0
    labels.avoid_point(x + 8, y + 8)
    labels.avoid_point(x + 30, y + 18)
    return tag(
        "g",
        tag("path", d=f"M{x + 16:g},{y + 16:g}L{x:g},{y:g}m0,7v-7h7", class_="arrow"),
        tag("text", "better", x=x + 20, y=y + 22, class_="hint"),
    )


def _said(groups: Sequence[Family], points: Mapping[int, Sequence[Point]], quantity: Quantity) -> str:
    lines = [
        f"{group.label}: "
        + ", ".join(f"{quantity.shown(p.value)} at L0 {significant(p.l0)}" for p in points[group.place])
        for group in groups
        if points[group.place]
    ]
    return f"{quantity.label} against L0. " + "; ".join(lines) + "."


def curves(
    series: Sequence[Series], title: str, *, log: bool = False, percent: bool = False, cut: float | None = None
) -> Markup | None:
    """Training curves of every arm over the tokens seen; None without any.

    The axis reaches down to the lowest value after a share `cut` of training; what was below it earlier is cut off.
    """
    drawn = [s for s in (_thinned(s, positive=log) for s in series) if s.tokens and s.tokens[-1] > 0]
    if not drawn:
        return None
    width, height = 340, 270
    late = [value for s in drawn for value in (s.values[int(cut * len(s.values)) :] if cut else s.values)]
    most = max(s.tokens[-1] for s in drawn)
    unit, unit_name = _unit(most)
    x = Scale(0, most / unit, 44, width - 40)
    top = max(max(s.values) for s in drawn)
    y = (
        Scale(0, max(1.1 * top, 0.01), height - 44, 30)
        if percent
        else padded([min(late), top], height - 44, 30, log=log, margin=0.05)
    )
    parts = Frame(x, y).draw(f"{unit_name}tokens seen", title, _percent if percent else float)
    parts += [_clipped([_curve(s, x, y, unit) for s in drawn], x, y), *_dials_at_ends(drawn, x, y)]
    finals = ", ".join(f"{s.arm} {significant(s.values[-1])}" for s in drawn)
    return figure(width, height, f"{title} during training; at the end: {finals}.", parts)


def _curve(series: Series, x: Scale, y: Scale, unit: float) -> Markup:
    places = [(x(tokens / unit), y(value)) for tokens, value in zip(series.tokens, series.values, strict=True)]
    return tag("g", path(places, class_=f"curve {_shade(series)}"), class_=f"v{series.family.colour}")


def _clipped(parts: Sequence[str], x: Scale, y: Scale) -> Markup:
    """Parts cut off at the axes: an inner SVG clips without needing a name."""
    inside = {"x": x.start, "y": y.end - 4, "width": x.end - x.start, "height": y.start - y.end + 4}
    return tag("svg", *parts, viewBox=" ".join(f"{side:g}" for side in inside.values()), **inside)


def _dials_at_ends(drawn: Sequence[Series], x: Scale, y: Scale) -> list[Markup]:
    """Each dial at the mean end of its lines, moved apart where they would touch; nothing when there are too many."""
    ends: dict[tuple[Family, float], list[float]] = {}
    for s in drawn:
        ends.setdefault((s.family, s.dial), []).append(s.values[-1])
    if len(ends) > LABELLED:
        return []
    levels = spread([min(max(y(fmean(values)), y.end), y.start) for values in ends.values()], 11.5)
    return [
        tag("text", f"{dial:g}", x=x.end + 5, y=level + 4, class_=f"v{family.colour} end")
        for (family, dial), level in zip(ends, levels, strict=True)
    ]


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The nearest places at least `gap` apart, in the same order along the axis (isotonic regression by pooling)."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    pools: list[list[float]] = []
    for rank, i in enumerate(order):
        pools.append([places[i] - rank * gap])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    levels = [fmean(pool) for pool in pools for _ in pool]
    result = [0.0] * len(places)
    for rank, i in enumerate(order):
        result[i] = levels[rank] + rank * gap
    return result


def _thinned(series: Series, positive: bool) -> Series:
    stride = max(math.ceil(len(series.tokens) / POINTS), 1)
    last = len(series.tokens) - 1
    kept = [i for i in range(len(series.tokens)) if i % stride == 0 or i == last]
    kept = [i for i in kept if series.values[i] > 0 or not positive]
    return Series(series.family, series.arm, [series.tokens[i] for i in kept], [series.values[i] for i in kept])


def _shade(series: Series) -> str:
    """Lighter for the smaller dials of a family."""
    dials = sorted({record.dial for record in series.family.records})
    rank = dials.index(series.dial)
    return f"s{round(3 * rank / max(len(dials) - 1, 1))}"


def _unit(most: float) -> tuple[float, str]:
    for size, name in ((1e9, "billion "), (1e6, "million "), (1e3, "thousand ")):
        if most >= size:
            return size, name
    return 1.0, ""


def _percent(value: float) -> float:
    return round(100 * value, 9)


def densities(group: Family, bars: Sequence[Bars], edges: tuple[float, float], tallest: int) -> Markup:
    """One row an arm: how many latents fire how often (log10), on the same scales for every family."""
    width, row, top, left = 480, 46, 8, 58
    height = top + row * len(bars) + 40
    bottom = top + row * len(bars)
    x = Scale(*edges, left, width - 12)
    parts = []
    for power in range(math.ceil(edges[0]), math.floor(edges[1]) + 1):
        parts.append(tag("path", d=f"M{x(power):.1f},{top:g}V{bottom + 4:g}", class_="grid"))
        parts.append(tag("text", _power(power), x=x(power), y=bottom + 17, class_="tick", text_anchor="middle"))
    for place, bar in enumerate(bars):
        base = top + row * (place + 1)
        outline = [(x(bar.edges[0]), float(base))]
        for low, high, count in zip(bar.edges, bar.edges[1:], bar.counts, strict=False):
            level = base - (row - 6) * count / max(tallest, 1)
            outline += [(x(low), level), (x(high), level)]
        outline.append((x(bar.edges[-1]), float(base)))
        record = group.arms[bar.arm]
        parts.append(path(outline, class_="area"))
        parts.append(tag("path", d=f"M{left:g},{base:g}H{width - 12:g}", class_="axis"))
        parts.append(tag("text", _row_name(group, bar.arm), x=left - 8, y=base - 4, class_="tick", text_anchor="end"))
        dead = f"{number(bar.dead, 0)} of {number(record.width, 0)} dead"
        parts.append(tag("text", dead, x=width - 12, y=base - row + 22, class_="hint", text_anchor="end"))
    title = "share of tokens on which a latent fires (log scale)"
    parts.append(tag("text", title, x=width - 12, y=bottom + 34, class_="title", text_anchor="end"))
    said = f"How often the latents of {group.label} fire. " + "; ".join(f"{bar.arm}: {bar.dead} dead" for bar in bars)
    return figure(width, height, said, [tag("g", *parts, class_=f"v{group.colour}")])


def _row_name(group: Family, arm: str) -> str:
    record = group.arms[arm]
    return f"{record.dial:g}" if len(group.seeds) == 1 else f"{record.dial:g} s{record.seed}"


def _power(exponent: int) -> str:
    return "1" if exponent == 0 else "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
