"""docs/claims.md from docs/results/claims.json: one row a claim."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.science import language

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "docs" / "results" / "claims.json", ROOT / "docs" / "claims.md"
HEAD = """# Claims

What papers say of the dictionaries, tried at a scale that two cores can do, mostly where the truth was planted. Made by
`make science` from [results/claims.json](results/claims.json), and on a language model by `python -m tests.science --language NAME` from
[results/language](results/language); nothing here is written by hand.

A figure is the mean over the seeds, with the smallest and the largest. Reproduced: every seed meets the target. Partly: the mean or
some seed does. Targets were set before the run, as starting points; a claim that fails stays in the table.
"""


def text(results: dict[str, Any], of_language: Sequence[dict[str, Any]]) -> str:
    """The page, from claims.json and the rows on a language model."""
    rows, meta = [*results["rows"], *of_language], results["meta"]
    counts = Counter(row["verdict"] for row in rows)
    total = ", ".join(
        f"{count} {verdict}" for verdict, count in sorted(counts.items(), key=lambda item: item[0] != "reproduced")
    )
    minutes = sum(results["seconds"].values()) / 60
    made = f"{meta['date']}, {meta['machine']}; {minutes:.0f} minutes of one core"
    parts = [HEAD, f"{len(rows)} claims: {total}. {made}.\n"]
    for section in sorted({row["section"] for row in rows}, key=_place):
        parts.append(_section(section, [row for row in rows if row["section"] == section]))
    return "\n".join(parts)


def _section(section: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"## {section}\n"]
    for setting in dict.fromkeys(row["setting"] for row in rows):
        lines += [
            f"{setting}\n",
            "| variant | claim | figure | mean (low to high) | target | verdict |",
            "| --- | --- | --- | ---: | ---: | --- |",
        ]
        for row in rows:
            if row["setting"] == setting:
                figure = f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
                cells = row["variant"], row["claim"], row["metric"], figure, row["target"], row["verdict"]
                lines.append(f"| {' | '.join(map(_escaped, cells))} |")
        lines.append("")
    return "\n".join(lines)


def _place(section: str) -> tuple[float, str]:
    """By number; those without one at the end."""
    number = section.split()[0]
    return (float(number) if number[0].isdigit() else math.inf, section)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def write() -> None:
    """Write the page."""
    PAGE.write_text(text(json.loads(RESULTS.read_text(encoding="utf-8")), language.rows()), encoding="utf-8")
