"""Numbers in rows and columns as aligned text, the best row first."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from assay.reports.aligned import aligned
from assay.reports.quantities import UNDEFINED, number


def matrix(rows: Mapping[str, Mapping[str, float | None]], *, title: str, best_first: bool, decimals: int = 3) -> str:
    """A line a row, a column a key and their mean at the end, by which rows are sorted; rows have the same keys."""
    means = {name: [value for value in row.values() if value is not None] for name, row in rows.items()}
    mean = {name: fmean(values) if values else None for name, values in means.items()}
    undefined = float("-inf") if best_first else float("inf")
    keys = {name: undefined if value is None else value for name, value in mean.items()}
    ordered = sorted(rows, key=keys.__getitem__, reverse=best_first)
    columns = list(next(iter(rows.values()), {}))
    table = [[title, *columns, "mean"]]
    for name in ordered:
        cells = [*rows[name].values(), mean[name]]
        table.append([name, *(UNDEFINED if value is None else number(value, decimals) for value in cells)])
    return "\n".join(aligned(table))
