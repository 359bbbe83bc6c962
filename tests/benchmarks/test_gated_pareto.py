"""The headline's driver: one pass for all sites, a run each, a summary that follows from the records, a page that follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from assay.recipes.gated_pareto import SITES
from assay.recipes.gated_pareto import gated_pareto as recipe
from assay.run import Run
from assay.run.kept import read_measurements
from benchmarks import gated_ablations_page, gated_pareto, gated_pareto_page
from tests.tiny_language import write_model, write_texts

TINY = {
    "train.steps": 30,
    "batches.size": 128,
    "harvest.tokens": 1500,
    "harvest.rows_per_shard": 512,
    "harvest.batch_contexts": 8,
    "source.context": 16,
    "source.held_out": 0.3,
    "evaluate.tokens": 256,
    "seeds": [0],
}


def tiny(place: str, folder: Path) -> Run:
    dictionaries = {name: {"variant": name, "width": 24} for name in ("gated", "relu")}
    run = recipe(place).revised({**TINY, "model.name": f"{folder}/lm", "source.texts": f"{folder}/texts"})
    return run.revised(
        {
            "harvest.site": SITES[place].replace(".9", ".1"),
            "dictionaries": dictionaries,
            "sweep": {"gated": [0.05, 0.2], "relu": [0.05, 0.2]},
        }
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pareto")
    write_model(folder / "lm")
    write_texts(folder / "texts")
    runs = {place: tiny(place, folder) for place in ("resid", "mlp")}
    gated_pareto.measure(runs, folder / "out")
    gated_pareto.measure(runs, folder / "out")
    return folder / "out"


def test_sites_are_harvested_once_and_each_has_a_run(measured: Path) -> None:
    stores = [path for path in (measured / "activations").iterdir() if path.is_dir()]
    assert len(stores) == 2
    assert {(measured / place / "activations").resolve() for place in ("resid", "mlp")} == {measured / "activations"}
    found = gated_pareto.result(measured, ["resid", "mlp"])
    assert [row["site"] for row in found["records"]] == ["resid_post.1"] * 4 + ["mlp_out.1"] * 4
    for said in found["summary"].values():
        gammas = [said[f"gamma_{kind}"] for kind in ("gated", "relu")]
        assert all(gamma["low"] <= gamma["mean"] <= gamma["high"] for gamma in gammas)
        assert said["comparison"]["first"] == "Gated"
    assert "3,840 tokens seen" in found["meta"]["setting"]


def test_the_page_and_the_plot_follow(measured: Path) -> None:
    found = json.loads(json.dumps(gated_pareto.result(measured, ["resid", "mlp"])))
    page, plot = gated_pareto_page.page(found), gated_pareto_page.drawn(found["records"])
    assert page.count("| MLP output |") == 1 + 4
    assert ElementTree.fromstring(plot).tag.endswith("svg")
    assert "residual stream" in plot


def test_the_arms_of_the_ablations_are_set_beside_each_other(measured: Path) -> None:
    records = [record.row() for record in read_measurements(measured / "resid").records]
    claim = {"claim": "It is so", "metric": "a figure", "value": 0.1, "low": 0.05, "high": 0.2, "target": ">= 0"}
    rows = [{**claim, "verdict": "reproduced", "setting": "tiny", "seeds": [0]}]
    meta = {"command": "python", "seconds": {"train": 360.0}, "date": "today", "machine": "this"}
    section = gated_ablations_page.section({"records": records, "rows": rows, "meta": meta})
    assert "| It is so | a figure | 0.100 (0.050 to 0.200) | >= 0 | reproduced |" in section
    assert section.count("| 24 |") == 2
    assert "in\n0.1 hours" in section
    assert ElementTree.fromstring(gated_ablations_page.drawn(records)).tag.endswith("svg")


@pytest.mark.skipif(not gated_pareto.RESULT.exists(), reason="`make pareto` has not run")
def test_the_page_is_what_the_results_say() -> None:
    found = json.loads(gated_pareto.RESULT.read_text(encoding="utf-8"))
    assert gated_pareto_page.PAGE.read_text(encoding="utf-8") == gated_pareto_page.page(found)
    assert gated_pareto_page.PLOT.read_text(encoding="utf-8") == gated_pareto_page.drawn(found["records"])
    if gated_ablations_page.RESULT.exists():
        records = json.loads(gated_ablations_page.RESULT.read_text(encoding="utf-8"))["records"]
        assert gated_ablations_page.PLOT.read_text(encoding="utf-8") == gated_ablations_page.drawn(records)
    assert gated_pareto_page.headline(found["summary"]) in gated_pareto_page.README.read_text(encoding="utf-8")
    for said in found["summary"].values():
        assert 0 <= said["dominated"] <= 1
