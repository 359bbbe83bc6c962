"""What stages leave for one another is read as they wrote it, or refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay import disk
from assay.errors import AssayError, CorruptData, MissingMaterial
from assay.run import Run, Workspace, kept
from assay.run.about import text_of
from assay.run.stages import run_report

ARM = {"loss": 2.0, "terms": {"reconstruction": 2.0}, "l0": 3.0, "explained_variance": 0.5, "dead": 0.1, "nonfinite": 0}
UNDEFINED = {**ARM, "explained_variance": None}


def logged(step: int, **arms: Any) -> dict[str, Any]:
    return {"step": step, "tokens": 10 * step, "learning_rate": 0.1, "arms": arms}


def log(folder: Path, *lines: Any) -> None:
    (folder / "training").mkdir()
    (folder / "training" / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_nothing_was_left_yet(tmp_path):
    assert kept.read_measurements(tmp_path) is None
    assert kept.read_latents(tmp_path) is None
    assert kept.read_timings(tmp_path) == {}
    assert kept.read_curves(tmp_path) == {}


def test_curves_leave_out_steps_where_something_is_undefined(tmp_path):
    log(tmp_path, logged(1, a=UNDEFINED, b=ARM), logged(2, a=ARM, b=ARM), logged(3, a=ARM, b={**ARM, "l0": 1.0}))
    curves = kept.read_curves(tmp_path)
    assert list(curves) == ["a", "b"]
    assert curves["b"].step == (2, 3)
    assert curves["b"].l0 == (3.0, 1.0)
    assert curves["b"].dead_fraction == (0.1, 0.1)


def test_what_learns_nothing_has_no_course(tmp_path):
    log(tmp_path, logged(1, a=ARM, pca={**ARM, "dead": None}), logged(2, a=ARM, pca={**ARM, "dead": None}))
    curves = kept.read_curves(tmp_path)
    assert list(curves) == ["a"]
    assert curves["a"].step == (1, 2)


@pytest.mark.parametrize(
    "lines",
    [
        [logged(1, a=ARM), logged(2, b=ARM)],
        [logged(1, a={**ARM, "l0": "3"})],
        [logged(1, a=[])],
        [{"step": 1}],
        [{**logged(1, a=ARM), "step": None}],
    ],
)
def test_a_log_of_anything_else_is_corrupt(tmp_path, lines):
    log(tmp_path, *lines)
    with pytest.raises(CorruptData, match=r"progress\.jsonl"):
        kept.read_curves(tmp_path)


DAMAGED = [[], 3, "x", {}, {"inputs": 3}, {"inputs": "0", "records": [3], "densities": {}, "latents": [3]}]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("name", ["evaluation.json", "latents.json", "timings.json"])
def test_files_of_anything_else_are_corrupt(tmp_path, name, content):
    if name == "timings.json" and content in ({}, {"inputs": 3}):
        return  # seconds of a stage of that name
    (disk.write_sealed if isinstance(content, dict) else disk.write_json)(tmp_path / name, content)
    with pytest.raises(CorruptData, match=name):
        for read in (kept.read_measurements, kept.read_latents, kept.read_timings):
            read(tmp_path)


def test_an_example_without_a_value_for_each_token_is_corrupt(tmp_path):
    example = {
        "kind": "top",
        "low": 1.0,
        "high": 1.0,
        "document": 0,
        "position": 0,
        "tokens": ["a"],
        "values": [],
        "peak": 0,
    }
    page = {"arm": "a", "latent": 0, "density": 0.1, "maximum": 1.0, "raised": [], "lowered": [], "examples": [example]}
    disk.write_sealed(tmp_path / "latents.json", {"inputs": "0", "latents": [page]})
    with pytest.raises(CorruptData, match="value for each token"):
        kept.read_latents(tmp_path)


def workspace(folder: Path) -> Workspace:
    return Workspace(Run(dictionaries={"a": {"variant": "gated"}}), folder)


def test_a_report_before_the_evaluation_says_what_to_run(tmp_path):
    with pytest.raises(MissingMaterial, match="assay evaluate"):
        run_report(workspace(tmp_path), "assay report")


@pytest.mark.parametrize("content", ["[]", "3", '{"asked": 3}'])
def test_a_store_json_of_anything_else_is_not_the_store_of_the_run(tmp_path, content):
    place = tmp_path / "activations" / "x"
    place.mkdir(parents=True)
    (place / "store.json").write_text(content)
    with pytest.raises(AssayError, match=r"store\.json is not as it was written"):
        workspace(tmp_path).store_folders()


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "tensors"},
        {"documents": 3, "tokenizer": {}},
        {"documents": {"count": "many", "xxh3_128": "0"}, "tokenizer": {"vocabulary": {"xxh3_128": "0"}}},
    ],
)
def test_a_store_that_does_not_say_which_text_it_is_of_is_corrupt(tmp_path, source):
    with pytest.raises(CorruptData, match="does not say which text"):
        text_of({"source": source}, tmp_path)
