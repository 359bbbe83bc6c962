"""docs/scale.md holds what the code computes, and says that it was computed."""

from __future__ import annotations

from pathlib import Path

from assay.scale import sections
from benchmarks import scale_page


def test_the_page_of_the_repository_is_what_the_code_prints(tmp_path: Path):
    copied = tmp_path / "scale.md"
    copied.write_text(scale_page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    scale_page.write(copied)
    assert copied.read_text(encoding="utf-8") == scale_page.PAGE.read_text(encoding="utf-8")


def test_every_section_has_its_place_and_every_place_its_section():
    text = scale_page.PAGE.read_text(encoding="utf-8")
    markers = [line.strip("<!- >") for line in text.splitlines() if line.startswith("<!-- ") and "/" not in line]
    assert sorted(markers) == sorted(sections())


def test_the_page_says_that_nothing_was_measured():
    assert "none was measured" in scale_page.PAGE.read_text(encoding="utf-8")
