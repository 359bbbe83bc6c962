"""The table of arms: one choice of columns and digits for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.record import Record
from assay.reports.families import Family, families
from assay.reports.quantities import KNOWN, OTHERS, UNDEFINED, Quantity, quantity
from assay.reports.tokens import visible

WIDE = 1000
"""Terminal columns: a table is never folded, the terminal scrolls."""
CROSS_ENTROPIES = "ce_"
"""How the names of raw cross-entropies begin."""


@dataclass(frozen=True)
class Row:
    """One arm of the table on the page."""

    family: Family | None
    """None where it is a baseline."""
    record: Record
    first: bool
    """Whether it opens its family, or the baselines."""
    cells: tuple[str, ...]


def columns(records: Sequence[Record]) -> list[Quantity]:
    """Every quantity that some record has: known ones in their order, then the others by name."""
    names = {name for record in records for name, value in record.values.items() if value is not None}
    ordered = [name for name in KNOWN if name in names] + sorted(names - set(KNOWN))
    return [quantity(name, [record.values.get(name) for record in records]) for name in ordered]


def rows(records: Sequence[Record], shown: Sequence[Quantity]) -> list[Row]:
    """Arms by family, dial and seed, each quantity as text."""
    return [
        Row(group, record, place == 0, tuple(q.shown(record.values.get(q.key)) for q in shown))
        for group in families(records)
        for place, record in enumerate(group.records)
    ]


def baseline_rows(records: Sequence[Record], shown: Sequence[Quantity]) -> list[Row]:
    """Baselines in their order."""
    return [
        Row(None, record, place == 0, tuple(q.shown(record.values.get(q.key)) for q in shown))
        for place, record in enumerate(records)
    ]


def text_table(
    records: Sequence[Record], names: Sequence[str] | None = None, *, baselines: Sequence[Record] = ()
) -> str:
    """The arms as aligned text for a terminal, baselines last; `names` chooses the quantities, by default those of the main table."""
    if names is None:
        chosen = [column for column in columns(records) if column not in OTHERS]
    else:
        chosen = [quantity(name, [record.values.get(name) for record in records]) for name in names]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(Text("arm"), vertical="bottom")
    for column in chosen:
        table.add_column(Text(_heading(column)), justify="right")
    for row in rows(records, chosen) + baseline_rows(baselines, chosen):
        cells = [
            cell if cell == UNDEFINED or not q.percent else f"{cell} %"
            for q, cell in zip(chosen, row.cells, strict=True)
        ]
        table.add_row(Text(visible(row.record.arm)), *(Text(cell) for cell in cells))
    page = StringIO()
    Console(file=page, width=WIDE, color_system=None, highlight=False, legacy_windows=False).print(table)
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())


def _heading(column: Quantity) -> str:
    name = f"CE {column.label}" if column.key.startswith(CROSS_ENTROPIES) else column.label
    return visible(name).replace(" ", "\n")
