"""docs/speed.md, its plot, docs/memory.md and the README's table from results/*.json: text between markers is made, the rest by hand.

    <!-- step -->            what stands here is generated
    <!-- /step -->

python -m benchmarks.page             writes the pages, the plot, and the table of the README
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results, studies, tables
from benchmarks.plot import plot
from benchmarks.results import RESULTS, ROOT, Row

PAGE = ROOT / "docs" / "speed.md"
MEMORY = ROOT / "docs" / "memory.md"
README = ROOT / "README.md"
NOTHING = "Not measured yet: `make bench` does it."

Section = Callable[[dict[str, Any]], str]


def sections() -> dict[str, tuple[str, Section]]:
    """Marker to (results file, what is written from it)."""
    return {
        "step": ("step", step),
        "shapes": ("step", lambda read: tables.shapes(read["rows"])),
        "scaling": ("scaling", lambda read: tables.scaling(read["rows"])),
        "stream": ("stream", lambda read: tables.stream(read["rows"])),
        "startup": ("startup", lambda read: tables.startup(read["rows"])),
        "trajectory": ("trajectory", lambda read: tables.trajectory(read["rows"])),
        "products": ("products", lambda read: studies.products(read["rows"])),
        "crossover": ("crossover", lambda read: studies.crossover(read["rows"])),
        "screening": ("screening", lambda read: studies.screening(read["rows"])),
    }


def step(read: dict[str, Any]) -> str:
    """The plot and the tables of one step at the main shape."""
    parts = [f"![Cost of one training step in encoder products]({PAGE.stem}.svg)"]
    return "\n\n".join([*parts, *tables.steps(read["rows"])])


def provenance(meta: dict[str, Any], rows: Sequence[Row]) -> str:
    """One line: when, at which commits, where, with what; and every command that wrote rows."""
    commands = ", ".join(f"`{command}`" for command in meta.get("commands", [meta["command"]]))
    versions = ", ".join(f"{name} {version}" for name, version in meta["versions"].items())
    commits = dict.fromkeys([*(row.get("commit", meta["commit"]) for row in rows), meta["commit"]])
    at = ", ".join(f"`{commit}`" for commit in commits)
    return f"*{meta['date']}, commit {at}, {meta['machine']}; {versions}.* {commands}"


def fill(text: str, marker: str, content: str) -> str:
    """The page with new content between a pair of markers. Raises ValueError when the page lacks them."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page has no markers <!-- {marker} --> and <!-- /{marker} -->")
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)


def write(page: Path, folder: Path) -> None:
    """Fill every section from the results in a folder, and draw the plot beside the page."""
    text = page.read_text(encoding="utf-8")
    for marker, (name, section) in sections().items():
        read = results.read(folder / f"{name}.json")
        content = f"{section(read)}\n\n{provenance(read['meta'], read['rows'])}" if read["rows"] else NOTHING
        text = fill(text, marker, content)
    if rows := results.read(folder / "step.json")["rows"]:
        page.with_suffix(".svg").write_text(plot(rows), encoding="utf-8")
    page.write_text(text, encoding="utf-8")


def write_memory(page: Path, folder: Path) -> None:
    """Fill the table of estimated and measured memory."""
    read = results.read(folder / "memory.json")
    content = f"{tables.memory(read['rows'])}\n\n{provenance(read['meta'], read['rows'])}" if read["rows"] else NOTHING
    page.write_text(fill(page.read_text(encoding="utf-8"), "memory", content), encoding="utf-8")


def write_readme(readme: Path, folder: Path) -> None:
    """Fill the table of the README."""
    rows = results.read(folder / "step.json")["rows"]
    text = fill(readme.read_text(encoding="utf-8"), "readme", tables.readme(rows) if rows else NOTHING)
    readme.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--memory", type=Path, default=MEMORY)
    parser.add_argument("--readme", type=Path, default=README)
    given = parser.parse_args(arguments)
    write(given.page, given.results)
    write_memory(given.memory, given.results)
    write_readme(given.readme, given.results)


if __name__ == "__main__":
    main()
