"""The planted benchmark: each variant on each kind of data, at about the planted L0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.cli import main
from assay.errors import UnknownName
from assay.run.benchmark import KINDS, Benchmark, benchmark

SMALL = {"width": 16, "atoms": 16, "active": 2.0, "latents": 24, "batch": 128, "rows": 8192, "scored_rows": 2048}


def test_a_variant_finds_what_was_planted_at_about_its_l0() -> None:
    settings = Benchmark(variants=("gated",), kinds=("plain", "hierarchical"), steps=150, **SMALL)  # pyright: ignore
    found = dict(benchmark(settings))
    assert set(found) == {"plain", "hierarchical"}
    for kind, record in found.items():
        values = {name: value for name, value in record.values.items() if value is not None}
        assert 1 <= values["l0"] <= 4
        assert values["mcc"] > 0.6
        assert ("absorption" in values) == (kind == "hierarchical")
        assert record.tokens == 2048
    assert (found["plain"].values["f1"] or 0) > 0.5


def test_what_cannot_take_part_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.dictionaries.topk import TopK

    monkeypatch.setattr(TopK.Config, "maps_to", property(lambda self: 5))
    told: dict[str, str] = {}
    settings = Benchmark(variants=("topk",), kinds=("plain",), steps=1, **SMALL)  # pyright: ignore
    assert list(benchmark(settings, told.__setitem__)) == []
    assert told == {"topk": "it maps a site to another"}


def test_unknown_kinds_and_variants_are_named_before_anything_is_trained() -> None:
    with pytest.raises(UnknownName, match="shifted"):
        next(benchmark(Benchmark(kinds=("plane",))))
    with pytest.raises(UnknownName, match="gated"):
        next(benchmark(Benchmark(variants=("gatd",))))


def test_every_kind_is_a_setting_of_planted_data() -> None:
    for kind in KINDS:
        assert Benchmark().planted(kind, 3).seed == 3


def test_the_verb_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["benchmark", "--variants", "topk", "--kinds", "plain", "noisy", "--steps", "20"]
    command += [
        word
        for name, value in SMALL.items()
        for word in (f"--{name.replace('_', '-')}", f"{value:g}" if name != "active" else "2.0")
    ]
    assert main([*command, "--out", str(tmp_path / "scores.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["f1", "plain", "noisy", "mean"]
    assert lines[1].startswith("topk")
    written = json.loads((tmp_path / "scores.json").read_text())
    assert [row["kind"] for row in written["records"]] == ["plain", "noisy"]
    assert written["records"][0].keys() >= {"f1", "mcc", "mmcs", "absorption", "dead", "l0", "code_correlation", "seed"}
    assert written["settings"]["steps"] == 20
