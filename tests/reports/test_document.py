"""A report and its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from assay import disk
from assay.analysis.examples import LatentPage
from assay.errors import CorruptData, MissingMaterial
from assay.record import Record
from assay.reports import Curve, Histogram, Report, read_report, text_table, write_report
from assay.reports.html import render

MakeRecord = Callable[..., Record]


def test_what_was_written_is_read_back_equal(report: Report, tmp_path: Path) -> None:
    page = write_report(report, tmp_path)
    assert page == tmp_path / "report.html"
    assert read_report(tmp_path / "report.json") == report


def test_records_are_flat_rows_in_json(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["records"][0]["l0"] == 40.0
    assert data["records"][0]["arm"] == "gated-0.1-s0"
    assert data["summary"] == report.summary
    assert data["summary"][0].startswith("At L0 = 20, Gated recovers 0.930 of the loss")


def test_bytes_depend_on_the_report_alone(report: Report, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_report(report, tmp_path / folder)
    for name in ("report.json", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_hostile_tokens_survive_json(report: Report, make_latent: Callable[..., LatentPage], tmp_path: Path) -> None:
    hostile = report.model_copy(update={"latents": (make_latent("</script>", "\u202e", "\udce2", "\x00", '"'),)})
    write_report(hostile, tmp_path)
    assert read_report(tmp_path / "report.json") == hostile


@pytest.mark.parametrize(
    "record", [{}, {"title": "x"}, {"title": 1, "command": "c"}, {"title": "x", "command": "c", "extra": 1}], ids=str
)
def test_a_file_that_is_no_report_is_called_that(record: dict[str, Any], tmp_path: Path) -> None:
    disk.write_sealed(tmp_path / "report.json", record)
    with pytest.raises(CorruptData, match="is not a report"):
        read_report(tmp_path / "report.json")


def test_a_missing_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingMaterial):
        read_report(tmp_path / "report.json")


def test_a_curve_has_a_number_for_each_step() -> None:
    with pytest.raises(ValidationError, match="equal length"):
        Curve(
            step=(1, 2),
            tokens=(1, 2),
            l0=(1.0,),
            explained_variance=(1.0, 1.0),
            dead_fraction=(0.0, 0.0),
            loss=(1.0, 1.0),
        )


@pytest.mark.parametrize(
    "edges", [(-1.0, 0.0), (-1.0, -2.0, 0.0), (-1.0, -1.0, 0.0), (-1e9, -1.0, 0.0), (-1.0, 0.0, 1.0)]
)
def test_a_histogram_has_rising_edges_about_its_bins(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="edge"):
        Histogram(edges=edges, counts=(1, 2), dead=0)


def test_a_histogram_of_nothing_is_allowed() -> None:
    assert Histogram(edges=(), counts=(), dead=64).dead == 64


def test_an_example_without_a_value_for_each_token_is_refused(
    report: Report, make_latent: Callable[..., LatentPage]
) -> None:
    latent = make_latent("a", "b").resolved()
    latent["examples"][0]["values"] = [1.0]
    with pytest.raises(ValidationError, match="value for each token"):
        Report(title="t", command="c", latents=(LatentPage.model_validate(latent),))


def test_a_row_gives_back_its_record(report: Report) -> None:
    rows = [record.row() for record in report.records]
    again = Report.model_validate({"title": "t", "command": "c", "records": rows})
    assert again.records == report.records
    assert isinstance(again.records[0], Record)


def test_numbers_too_large_to_show_are_refused_and_too_small_ones_are_zero(make_record: MakeRecord) -> None:
    with pytest.raises(ValidationError, match=r"at most 1e\+100"):
        make_record("gated", 0.1, 1.7e308)
    with pytest.raises(ValidationError, match=r"at most 1e\+100"):
        make_record("gated", -1.7e308, 1.0)
    record = make_record("gated", 0.1, 5e-324, kl=-1e-99)
    assert record.values == {"l0": 0.0, "kl": -1e-99}


@pytest.mark.parametrize("number", [1e100, 1e-100, 0.0, -1e100])
def test_a_report_of_numbers_at_the_bounds_is_shown(
    make_record: MakeRecord, make_latent: Callable[..., LatentPage], number: float
) -> None:
    records = [
        make_record(variant, dial, number, kl=number, loss_recovered_zero=number)
        for variant in ("gated", "relu")
        for dial in (0.1, number)
    ]
    page = LatentPage.model_validate(
        {**make_latent("a", "b").resolved(), "density": number, "maximum": number, "arm": records[0].arm}
    )
    series = (number, number)
    curve = Curve(step=(1, 2), tokens=(1, 2), l0=series, explained_variance=series, dead_fraction=series, loss=series)
    report = Report(
        title="t",
        command="c",
        records=tuple(records),
        curves={records[0].arm: curve},
        latents=(page,),
        timings={"train": number},
        provenance={"rate": number},
    )
    assert render(report)
    assert text_table(report.records)
    assert report.resolved()["summary"]
