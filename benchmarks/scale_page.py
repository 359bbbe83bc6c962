"""docs/scale.md from `assay.scale`: text between markers is replaced, as in `benchmarks.page`; nothing is measured.

python -m benchmarks.scale_page
"""

from __future__ import annotations

from pathlib import Path

from assay.scale import sections
from benchmarks.page import fill
from benchmarks.results import ROOT

PAGE = ROOT / "docs" / "scale.md"


def write(page: Path) -> None:
    """Fill every section of a page."""
    text = page.read_text(encoding="utf-8")
    for marker, content in sections().items():
        text = fill(text, marker, content)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(PAGE)
