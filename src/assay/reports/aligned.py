"""Cells as lines of text in columns of one width."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, right: bool = True) -> list[str]:
    """A line a row, its first cell to the left and the others to the right, or all to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    put = str.rjust if right else str.ljust
    return ["  ".join([row[0].ljust(widths[0]), *map(put, row[1:], widths[1:])]).rstrip() for row in rows]
