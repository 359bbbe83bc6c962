"""A plan as a person reads it: numbers with units, and advice that follows the figures."""

from __future__ import annotations

import pytest

from assay.scale import Workload, advice, figures, report
from assay.scale.tables import shown


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (8.2e13, "bytes", "82 TB"),
        (999, "bytes", "999 B"),
        (0, "bytes", "0 B"),
        (1.36e11, "bytes/s", "136 GB/s"),
        (3.3e23, "operations", "3.3e+23"),
        (1234.4, "hours", "1,230 h"),
        (0.0123, "hours", "0.0123 h"),
        (90, "seconds", "1.5 min"),
        (7200, "seconds", "2 h"),
        (200_000, "seconds", "2.31 d"),
        (0.5, "seconds", "0.5 s"),
        (0.00312, "share", "0.31 %"),
        (152_588, "count", "153,000"),
        (8_200_004_096, "count", "8.2e+09"),
        (23_841, "rows/s", "23,800 /s"),
    ],
)
def test_numbers_have_three_digits_and_a_unit(value, unit, text):
    assert shown(value, unit) == text


def test_a_report_says_first_that_nothing_was_measured_and_shows_every_figure_with_its_formula():
    work = Workload(latents=3e5)
    lines = report(work).splitlines()
    assert "nothing here was measured" in lines[0]
    assert any(line.split() == ["latents", "300,000"] for line in lines)
    for figure in figures(work).values():
        assert any(figure.what in line and line.endswith(f"= {figure.formula}") for line in lines)


def test_advice_shards_the_latents_when_one_gpu_cannot_hold_them():
    small, large = " ".join(advice(Workload(latents=1e5))), " ".join(advice(Workload(latents=1e7)))
    assert "fits one GPU" in small
    assert "shard the latents" in large
    assert "FSDP" in large


def test_advice_warns_of_a_window_in_which_living_latents_look_dead():
    assert not any("dead window" in line for line in advice(Workload(latents=1e5)))
    (line,) = (line for line in advice(Workload(latents=1e8)) if "dead window" in line)
    assert "1.67e+07 tokens" in line


def test_advice_about_shards_is_silent_once_it_was_taken():
    def said(**changes) -> list[str]:
        return [line for line in advice(Workload(tokens=1e12, **changes)) if "shards of" in line]

    (line,) = said()
    rows = int(line.split("shards of ")[1].split()[0].replace(",", ""))
    assert said(rows_per_shard=rows) == []


def test_advice_names_the_source_that_does_not_fit_into_memory():
    assert not any("TextSource" in line for line in advice(Workload(tokens=1e9)))
    assert any("TextSource" in line for line in advice(Workload(tokens=1e12)))
