"""The plan from the shell: every assumption is a flag."""

from __future__ import annotations

import json

import pytest

from assay.cli import main
from assay.scale import Workload, report


def test_a_plan_is_printed_for_the_sizes_that_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--tokens", "1e9", "--latents", "1e5", "--d", "768"]) == 0
    assert capsys.readouterr().out == report(Workload(tokens=1e9, latents=1e5, d=768)) + "\n"


def test_assumptions_are_flags_and_figures_are_there_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json", "--tokens-per-second", "1000", "--dtype", "float32", "--sites", "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["assumptions"]["sites"] == 3
    assert said["figures"]["harvest_hours"]["value"] == pytest.approx(1e10 / 1000 / 3600)
    assert said["figures"]["bytes_32"]["formula"] == "T s (4 d + 8)"
    assert said["advice"]


def test_an_impossible_assumption_is_a_mistake_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--depth", "2"]) == 1
    assert "depth = 2; expected a share in (0, 1]" in capsys.readouterr().err
    assert main(["plan", "--tokens", "many"]) == 2
