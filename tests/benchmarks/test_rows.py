"""Rows have the promised fields; units are against the product of the same group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import scaling, step, trajectory, worker

TASK = worker.Task("time", "32x256x64", "synthetic", 20, (("torch", "encoder product"), ("assay", "gated")), 3)
TIMED = [
    {"library": "torch", "variant": "encoder product", "l0": 256.0, "seconds": [0.1, 0.2, 0.3]},
    {"library": "assay", "variant": "gated", "l0": 20.04, "seconds": [0.5, 0.3, 0.4]},
]
PROMISED = {"library", "variant", "d", "width", "batch", "l0", "data", "malloc", "median_ms", "units", "matmul_units"}
PROMISED |= {"peak_mib", "runs", "low_ms", "high_ms"}


def answered(task: worker.Task) -> list[dict]:
    """What a worker would answer: the product in 0.2 seconds, everything else in 0.4."""
    return [{**TIMED[place > 0], "library": name[0], "variant": name[1]} for place, name in enumerate(task.arms)]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[worker.Task, str]]:
    """Workers answer at once; the list of what they were asked."""
    asked: list[tuple[worker.Task, str]] = []

    def run(task: worker.Task, malloc: str):
        asked.append((task, malloc))
        if task.mode == "memory":
            ((library, variant),) = task.arms
            return [{"library": library, "variant": variant, "peak_mib": 12.34, "matmul_units": 8.0}]
        return answered(task)

    monkeypatch.setattr(worker, "run", run)
    return asked


def test_a_row_of_step_has_the_promised_fields():
    row = step.row(TASK, "tuned", TIMED[1], 0.2, {("assay", "gated"): {"peak_mib": 12.34, "matmul_units": 1.1}})
    assert set(row) == PROMISED
    assert (row["median_ms"], row["low_ms"], row["high_ms"], row["units"]) == (400.0, 300.0, 500.0, 2.0)
    assert (row["d"], row["width"], row["batch"], row["l0"], row["runs"]) == (32, 256, 64, 20.0, 3)


def test_each_group_is_saved_and_the_product_pools_its_runs(tmp_path: Path, answers):
    settings = step.Settings(
        shapes=("32x256x64",),
        data=("synthetic",),
        mallocs=("default",),
        libraries=("torch", "assay"),
        kinds=("gated", "relu"),
    )
    step.measure(settings, tmp_path, {"command": "a test", "commit": "abc"})
    rows = json.loads((tmp_path / "step.json").read_text())["rows"]
    product, _, gated, _ = rows
    assert (product["units"], product["runs"]) == (1.0, 6)
    assert (gated["units"], gated["peak_mib"]) == (2.0, 12.3)
    assert {task.mode for task, _ in answers} == {"time", "memory"}


def test_a_group_that_fails_loses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def run(task: worker.Task, malloc: str):
        if task.arms[1][1] == "gated":
            raise RuntimeError("out of memory")
        return answered(task)

    monkeypatch.setattr(worker, "run", run)
    settings = step.Settings(
        shapes=("32x256x64",),
        data=("synthetic",),
        mallocs=("tuned",),
        libraries=("assay",),
        kinds=("gated", "relu"),
        memory=False,
    )
    step.measure(settings, tmp_path, {"command": "a test", "commit": "abc"})
    assert len(json.loads((tmp_path / "step.json").read_text())["rows"]) == 2
    assert "out of memory" in capsys.readouterr().err


def test_real_data_are_for_the_width_of_their_site_only():
    settings = step.Settings(
        shapes=("768x256x64", "576x256x64"), mallocs=("default",), libraries=("assay",), kinds=("gated",)
    )
    assert [(task.shape, task.data) for _, task in settings.tasks()] == [
        ("768x256x64", "synthetic"),
        ("576x256x64", "synthetic"),
        ("576x256x64", "real"),
    ]


def test_a_point_of_scaling_has_its_product_beside_it():
    row = scaling.row("l0", "tuned", TASK, TIMED)
    assert (row["units"], row["product_ms"], row["median_ms"], row["l0_asked"]) == (2.0, 200.0, 400.0, 20)


def test_a_worker_answers_in_a_process_of_its_own():
    task = worker.Task("time", "16x64x32", "synthetic", 8, (("torch", "encoder product"),), 1)
    (product,) = worker.run(task, "tuned")
    assert (product["variant"], len(product["seconds"])) == ("encoder product", 1)


def test_the_default_path_is_not_forced():
    assert trajectory.forced("default") == {}
    assert trajectory.forced("dense") == {"ASSAY_OPS": "dense"}
