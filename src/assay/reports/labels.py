"""Puts short labels beside points where they cover least: places on two rings are tried about a point, nothing is ever left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from assay.reports.svg import CHARACTER, LINE, XY, tag

Box = tuple[float, float, float, float]
"""left, top, right, bottom."""
REACH = 9.0
"""From a point to the label beside it."""


class Labels:
    """What is taken in one chart; asks for the best place in the order in which labels come."""

    def __init__(self, left: float, top: float, right: float, bottom: float) -> None:
        self.frame: Box = (left, top, right, bottom)
        self.taken: list[Box] = []

    def avoid_point(self, x: float, y: float, reach: float = 5.5) -> None:
        """Keep labels off a marker."""
        self.taken.append((x - reach, y - reach, x + reach, y + reach))

    def avoid_line(self, points: Sequence[XY], step: float = 5.0) -> None:
        """Keep labels off a line."""
        for (x0, y0), (x1, y1) in pairwise(points):
            pieces = max(int(max(abs(x1 - x0), abs(y1 - y0)) / step), 1)
            for piece in range(pieces + 1):
                share = piece / pieces
                self.avoid_point(x0 + share * (x1 - x0), y0 + share * (y1 - y0), 2.0)

    def text(self, said: str, x: float, y: float, *, class_: str) -> Markup:
        """The label as an element, in the best place about (x, y), which is then taken."""
        width = CHARACTER * len(said) * (1.28 if class_ == "name" else 1.0)
        box = min(
            _around(x, y, width, 1.0) + _around(x, y, width, 1.7),
            key=lambda box: self._cost(box) + _distance(box, x, y),
        )
        self.taken.append(box)
        return tag("text", said, x=(box[0] + box[2]) / 2, y=box[3] - 3, class_=class_, text_anchor="middle")

    def _cost(self, box: Box) -> float:
        covered = sum(_overlap(box, other) for other in self.taken)
        return covered + 20 * (_area(box) - _overlap(box, self.frame))


def _around(x: float, y: float, width: float, ring: float) -> list[Box]:
    """Above and below first, then beside, then the corners; a wider ring is for crowded charts."""
    across, up = width / 2 + REACH * ring, LINE / 2 + REACH * ring
    shifts = [(0, -up), (0, up), (across, 0), (-across, 0), (across, -up), (-across, -up), (across, up), (-across, up)]
    shifts += [(0.6 * across, -up), (-0.6 * across, -up), (0.6 * across, up), (-0.6 * across, up)]
    return [(x + dx - width / 2, y + dy - LINE / 2, x + dx + width / 2, y + dy + LINE / 2) for dx, dy in shifts]


def _distance(box: Box, x: float, y: float) -> float:
    """What it costs a label to be far from its point, in units of covered area."""
    return max(box[0] - x, x - box[2], 0) + max(box[1] - y, y - box[3], 0)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(box: Box, other: Box) -> float:
    across = min(box[2], other[2]) - max(box[0], other[0])
    down = min(box[3], other[3]) - max(box[1], other[1])
    return across * down if across > 0 and down > 0 else 0.0
