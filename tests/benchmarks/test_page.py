"""The page is made of results and of nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import page, tables
from benchmarks.plot import plot

META = {
    "commit": "abc",
    "machine": "a machine",
    "versions": {"torch": "2"},
    "command": "python -m x",
    "threads": 2,
    "date": "2026-01-01",
}


def row(library: str, variant: str, units: float, **changes) -> dict:
    values = {"d": 8, "width": 64, "batch": 16, "data": "real", "malloc": "tuned", "l0": 9.0, "median_ms": 100 * units}
    values |= {"low_ms": 1.0, "high_ms": 2.0, "units": units, "matmul_units": 8.0, "peak_mib": None, "runs": 5}
    return {"library": library, "variant": variant, **values, **changes}


ROWS = [
    row("torch", "encoder product", 1.0),
    row("assay", "gated", 1.25),
    row("sae-lens", "gated", 15.0),
    row("torch", "gated dense", 9.0),
    row("assay", "topk k=32", 1.5),
    row("sparsify", "topk k=32", 3.0),
    row("assay", "gated", 1.75, malloc="default"),
]


def test_a_section_is_replaced_and_the_rest_stays():
    assert page.fill("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    with pytest.raises(ValueError, match="no markers"):
        page.fill("a", "x", "new")


def test_the_page_of_the_repository_has_every_marker(tmp_path: Path):
    copied = tmp_path / "speed.md"
    copied.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    page.write(copied, tmp_path / "no results")
    assert copied.read_text().count(page.NOTHING) == len(page.sections())
    assert not copied.with_suffix(".svg").exists()


def test_the_page_of_the_repository_is_that_of_its_results(tmp_path: Path):
    copied = tmp_path / "speed.md"
    copied.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    page.write(copied, page.RESULTS)
    assert copied.read_text(encoding="utf-8") == page.PAGE.read_text(encoding="utf-8")


def test_results_become_a_table_and_a_plot(tmp_path: Path):
    copied = tmp_path / "speed.md"
    copied.write_text("".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in page.sections()), encoding="utf-8")
    (tmp_path / "step.json").write_text(json.dumps({"meta": META, "rows": ROWS}), encoding="utf-8")
    page.write(copied, tmp_path)
    text = copied.read_text(encoding="utf-8")
    assert "| Gated | assay | 9.0 | 125 | 1.25 | 1.75 | 8.00 | – | – |" in text
    assert "| Gated | sae-lens | 9.0 | 1,500 | 15.00 | – | 8.00 | – | 12.0 |" in text
    assert "commit `abc`" in text
    assert "9.0" in ElementTree.parse(copied.with_suffix(".svg")).getroot().findtext("{*}title", "")


def test_times_are_against_our_step_of_the_same_kind():
    named = {(one["library"], one["variant"]): one for one in ROWS if one["malloc"] == "tuned"}
    assert tables.times_assay(named["torch", "gated dense"], named) == pytest.approx(9 / 1.25)
    assert tables.times_assay(named["sparsify", "topk k=32"], named) == 2
    assert tables.times_assay(named["assay", "gated"], named) is None
    assert tables.times_assay(row("sparsify", "topk", 3.0), named) is None


def test_the_table_of_the_readme_is_that_of_its_results(tmp_path: Path):
    copied = tmp_path / "README.md"
    copied.write_text(page.README.read_text(encoding="utf-8"), encoding="utf-8")
    page.write_readme(copied, page.RESULTS)
    assert copied.read_text(encoding="utf-8") == page.README.read_text(encoding="utf-8")


def test_the_page_on_memory_is_that_of_its_results(tmp_path: Path):
    copied = tmp_path / "memory.md"
    copied.write_text(page.MEMORY.read_text(encoding="utf-8"), encoding="utf-8")
    page.write_memory(copied, page.RESULTS)
    assert copied.read_text(encoding="utf-8") == page.MEMORY.read_text(encoding="utf-8")


def test_the_readme_has_a_line_a_kind_and_a_column_a_library():
    lines = tables.readme(ROWS).splitlines()
    assert lines[0] == "| step, in encoder products | assay | sae-lens | sparsify |"
    assert "| Gated | 1.25 | 15.00 | – |" in lines


def test_every_arm_has_a_bar():
    root = ElementTree.fromstring(plot(ROWS))
    assert len(root.findall("{*}rect")) == 5
    widths = [float(bar.get("width", "0")) for bar in root.findall("{*}rect")]
    assert min(widths) > 0


def test_equal_within_the_spread_is_said_of_means():
    def ending(path: str, seed: int, l0: float) -> dict:
        names = ("explained_variance", "loss_recovered_zero", "loss_recovered_mean")
        return {"path": path, "seed": seed, "l0": l0, **dict.fromkeys(names, 0.5 + seed / 100)}

    near = [ending("default", 0, 60), ending("default", 1, 64), ending("dense", 0, 61), ending("dense", 1, 64)]
    assert "| L0 | 62.00 ± 2.83 | 62.50 ± 2.12 | 1.00 | yes |" in tables.trajectory(near)
    far = [*near[:2], ending("dense", 0, 80), ending("dense", 1, 81)]
    assert re.search(r"\| L0 .* no \|", tables.trajectory(far))
    assert "too few" in tables.trajectory(near[:1])
