"""A report on disk: report.json holds it, report.html shows it, and nothing is in one alone."""

from __future__ import annotations

from pathlib import Path

from assay import disk
from assay.config import parse
from assay.errors import AssayError, ConfigError, CorruptData
from assay.reports.document import Report
from assay.reports.html import render

DATA, PAGE = "report.json", "report.html"


def write_report(report: Report, folder: Path | str) -> Path:
    """Write report.json, then report.html beside it; returns the page. Raises OutOfDisk."""
    folder = Path(folder)
    disk.write_sealed(folder / DATA, report.resolved())
    disk.write(folder / PAGE, render(report).encode())
    return folder / PAGE


def check_report(folder: Path) -> list[str]:
    """What is wrong with a report: its data, or a page that does not show them."""
    try:
        page = render(read_report(folder / DATA)).encode()
    except AssayError as error:
        return [error.got]
    path = folder / PAGE
    if not path.exists():
        return [f"{path} is missing"]
    return [] if path.read_bytes() == page else [f"{path} does not show what is in {DATA}"]


def read_report(path: Path | str) -> Report:
    """The report of a report.json. Raises MissingMaterial, CorruptData."""
    data = disk.read_sealed(Path(path))
    data.pop("summary", None)
    try:
        return parse(Report, data, where="it")
    except ConfigError as error:
        raise CorruptData(
            f"{path} is not a report ({error.got})",
            expected="a report.json that assay wrote",
            do="Run `assay report` on its folder.",
        ) from None
