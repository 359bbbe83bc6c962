"""Every Python block of README and docs runs, top to bottom, each page in a process of its own; every verb that a page names exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


@pytest.mark.parametrize("page", pages_with("python"), ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", pages_with("bash"), ids=lambda page: page.name)
def test_commands_name_verbs_and_targets_that_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(blocks(page, "bash"))
    assert set(re.findall(r"^assay (\w+)", text, re.MULTILINE)) <= set(VERBS)
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_numbers_in_the_readme_are_those_of_the_committed_result() -> None:
    records = {row["arm"]: row for row in json.loads((ROOT / "docs/results/demo.json").read_text())["records"]}
    table = re.findall(r"^\| ((?:gated|relu)-\S+) \|(.*)\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {arm for arm, _ in table} == set(records)
    columns = ["l0", "loss_recovered_zero", "loss_recovered_mean", "explained_variance", "relative_reconstruction_bias"]
    columns += ["dead_fraction", "ce_clean", "ce_spliced", "ce_zero", "ce_mean"]
    for arm, cells in table:
        for column, cell in zip(columns, cells.split("|"), strict=True):
            digits = len(cell.strip().partition(".")[2])
            assert f"{records[arm][column]:.{digits}f}" == cell.strip(), (arm, column)
