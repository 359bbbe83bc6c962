"""The whole path from the shell on a small model in a local folder: harvest, sweep, evaluate, report, verify, and all of it again."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from assay.cli import main

KEYS = {
    *("variant", "dial", "seed", "l0", "explained_variance", "relative_reconstruction_bias", "loss_recovered_zero"),
    *("loss_recovered_mean", "ce_clean", "ce_spliced", "ce_zero", "ce_mean", "kl", "dead_fraction", "tokens"),
}


def test_the_report_holds_a_complete_record_of_every_arm(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    assert [(row["variant"], row["dial"]) for row in report["records"]] == [
        ("gated", 0.1),
        ("gated", 0.3),
        ("topk", 2),
        ("topk", 6),
    ]
    for row in report["records"]:
        assert row.keys() >= KEYS
        assert row["tokens"] == 300
        recovered = (row["ce_zero"] - row["ce_spliced"]) / (row["ce_zero"] - row["ce_clean"])
        assert row["loss_recovered_zero"] == pytest.approx(recovered)
    topk = {row["dial"]: row for row in report["records"] if row["variant"] == "topk"}
    assert topk[2]["l0"] <= 2
    assert topk[6]["explained_variance"] > topk[2]["explained_variance"]


def test_the_page_is_there_and_says_how_to_get_it_again(folder: Path, toml: Path) -> None:
    page = (folder / "report.html").read_text()
    assert f"assay report {toml}" in page
    assert "gated-0.1" in page


def test_examples_show_the_token_that_the_latent_fires_on(folder: Path) -> None:
    latents = json.loads((folder / "latents.json").read_text())["latents"]
    assert len(latents) == 3
    for latent in latents:
        for example in latent["examples"]:
            assert example["values"][example["peak"]] > 0
            assert len(example["tokens"]) == len(example["values"])
        top = [example for example in latent["examples"] if example["kind"] == "top"]
        assert top[0]["values"][top[0]["peak"]] == pytest.approx(latent["maximum"], rel=1e-3)


def test_verify_agrees_with_all_of_it(folder: Path) -> None:
    assert main(["verify", str(folder)]) == 0


def test_a_second_time_changes_no_byte(folder: Path) -> None:
    def contents() -> dict[Path, bytes]:
        kept = (path for path in folder.rglob("*") if path.is_file() and path.name != "timings.json")
        return {path: path.read_bytes() for path in kept if path.parent != folder or path.name != "run.json"}

    before = contents()
    for verb in ("harvest", "sweep", "evaluate"):
        assert main([verb, str(folder)]) == 0
    assert contents() == before


def test_a_dead_writers_lock_goes_when_all_is_done_already(folder: Path) -> None:
    (folder / ".lock").write_text('{"pid": 1, "host": "gone", "since": "long ago"}')
    os.utime(folder / ".lock", (0, 0))
    assert main(["evaluate", str(folder)]) == 0
    assert not (folder / ".lock").exists()


def test_a_dry_run_says_what_it_takes_and_writes_nothing(
    toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("harvest", "train", "sweep"):
        assert main([verb, str(toml), "--out", str(tmp_path / "none"), "--dry-run"]) == 0
        printed = capsys.readouterr().out
        assert "tokens" in printed
        assert "MiB" in printed or "KiB" in printed
    assert not (tmp_path / "none").exists()


def test_an_unknown_site_names_its_neighbours(toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["harvest", str(toml), "--out", str(tmp_path), "--set", "harvest.site=resid_pots.1"]) == 1
    assert "resid_post.1" in capsys.readouterr().err


def test_more_tokens_than_there_are_is_said_before_anything_runs(
    toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["harvest", str(toml), "--out", str(tmp_path), "--set", "harvest.tokens=1000000"]) == 1
    assert "1,000,000" in capsys.readouterr().err


def test_sites_can_be_listed(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "sites", "--model", str(toml.parent / "lm"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sites"]["resid_post.1"] == "model.layers.1:out"


def test_workers_in_turn_make_the_store_of_one_process(
    toml: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "activations").rglob("*") if path.is_file()}

    command, out = ["harvest", str(toml), "--out", str(tmp_path)], ["--worker", "2/2"]
    assert main([*command, *out]) == 0
    assert "not all there yet" in capsys.readouterr().out
    assert main(["verify", str(tmp_path)]) == 3
    assert "worker 1/2" in capsys.readouterr().out
    assert main(["train", str(tmp_path)]) == 1
    assert "worker 1/2" in capsys.readouterr().err
    assert main([*command, "--worker", "1/2", "--dry-run"]) == 0
    assert "1,000" in capsys.readouterr().out
    assert main([*command, "--worker", "1/2"]) == 0
    assert f"all shards are there; assay harvest {tmp_path} merges" in capsys.readouterr().out
    assert main(["verify", str(tmp_path)]) == 0
    assert not (tmp_path / "timings.json").exists()
    assert main(["harvest", str(tmp_path)]) == 0
    assert contents(tmp_path) == contents(folder)


def test_a_store_that_workers_left_is_repaired_and_merged(toml: Path, folder: Path, tmp_path: Path) -> None:
    for worker in ("1/2", "2/2"):
        assert main(["harvest", str(toml), "--out", str(tmp_path), "--worker", worker]) == 0
    manifest = next(tmp_path.rglob("manifest.2of2.*.jsonl"))
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": ', b'"rows": 1'))
    assert main(["verify", str(tmp_path)]) == 3
    assert main(["verify", str(tmp_path), "--repair"]) == 0
    for path in (folder / "activations").rglob("*.*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_workers_that_cannot_be_are_named(toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for worker in ("0/2", "3/2", "two"):
        assert main(["harvest", str(toml), "--out", str(tmp_path), "--worker", worker]) == 1
        assert "worker" in capsys.readouterr().err
    assert main(["harvest", str(toml), "--out", str(tmp_path), "--worker", "1/2", "--ray", "2"]) == 1
    assert "one of them" in capsys.readouterr().err
    assert main(["harvest", "--help"]) == 0
    assert "counted from 1" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra [ray] is not installed")
def test_actors_of_ray_make_the_store_of_one_process(toml: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "assay", "harvest", str(toml), "--out", str(tmp_path), "--ray", "2"]
    environment = {**os.environ, "HOME": str(toml.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for path in (folder / "activations").rglob("*.*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_baselines_are_measured_beside_and_shown_last(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads((folder / "report.json").read_text())
    arms = {row["arm"]: row for row in report["records"]}
    beside = {row["variant"]: row for row in report["baselines"]}
    assert set(beside) == {"random", "identity"}
    median = sorted(row["l0"] for row in arms.values())[1]
    for variant, row in beside.items():
        assert row["arm"] == f"{variant}@{row['dial']:g}"
        assert row["l0"] == pytest.approx(median, rel=0.35)
        assert row["explained_variance"] < max(arm["explained_variance"] for arm in arms.values())
        assert row.keys() >= KEYS
    assert all(row["arm"] in (folder / "report.html").read_text() for row in beside.values())
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[lines.index("topk-6") + 1 :][:2] == [row["arm"] for row in report["baselines"]]


def test_sums_by_document_make_the_records(folder: Path) -> None:
    from assay.metric import Metric
    from assay.run.kept import read_document_sums

    sums = read_document_sums(folder)
    report = json.loads((folder / "report.json").read_text())
    assert sums is not None
    for row in [*report["records"], *report["baselines"]]:
        for name in ("l0", "explained_variance", "loss_recovered_zero", "relative_reconstruction_bias", "kl"):
            found = sums.of(row["arm"], name)
            assert found is not None
            assert float(Metric.registry.named(name).of(found.sum(0))) == pytest.approx(row[name], rel=1e-8)  # pyright: ignore


def test_other_baselines_can_be_asked_for_or_none(folder: Path, tmp_path: Path) -> None:
    from assay.dictionary import Dictionary
    from assay.errors import ConfigError
    from assay.run.baselines import baselines
    from assay.run.settings import EvaluateSettings

    arms = {path.name: Dictionary.load(path) for path in sorted((folder / "dictionaries").iterdir())}
    sample = torch.randn(500, arms["topk-2"].config.d_in, generator=torch.Generator().manual_seed(0))
    assert baselines(EvaluateSettings(baselines=()), arms, sample) == {}
    chosen = baselines(EvaluateSettings(baselines=("random",), baselines_at="topk-2"), arms, sample)
    assert list(chosen) == ["random@2"]
    assert chosen["random@2"].config.width == 48
    with pytest.raises(ConfigError, match=r"gated-0\.1"):
        baselines(EvaluateSettings(baselines_at="topk-3"), arms, sample)
    with pytest.raises(ConfigError, match="counts active latents"):
        baselines(EvaluateSettings(baselines=("relu",)), arms, sample)


def test_an_evaluation_ends_with_the_families_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    assert "Gated against TopK" in capsys.readouterr().out
    assert main(["compare", str(folder), "--draws", "50", "--json"]) == 0
    (comparison,) = json.loads(capsys.readouterr().out)
    assert (comparison["first"], comparison["second"], comparison["paired"], comparison["draws"]) == (
        "Gated",
        "TopK",
        True,
        50,
    )
    names = {matched["metric"] for matched in comparison["metrics"]}
    assert names >= {
        "explained_variance",
        "loss_recovered_zero",
        "relative_reconstruction_bias",
        "kl",
        "mse",
        "ce_spliced",
    }


def test_arms_baselines_and_runs_are_compared_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "again")
    capsys.readouterr()
    assert main(["compare", str(folder), "--of", "topk-2", "random", "gated", "--draws", "20"]) == 0
    said = capsys.readouterr().out
    assert all(pair in said for pair in ("topk-2 against random@", "topk-2 against Gated", " against Gated"))
    assert main(["compare", str(folder), str(tmp_path / "again"), "--draws", "20", "--json"]) == 0
    across = json.loads(capsys.readouterr().out)
    assert [(one["first"], one["second"]) for one in across] == [
        ("Gated of out", "Gated of again"),
        ("TopK of out", "TopK of again"),
    ]
    assert all(
        abs(matched["difference"]["high"]) < 1e-9
        for one in across
        for matched in one["metrics"]
        if matched["difference"]["high"]
    )
    assert main(["compare", str(folder), "--of", "topk-2", "topk-3"]) == 1
    assert "topk-6" in capsys.readouterr().err
    assert main(["compare", str(folder), "--of", "topk-2"]) == 1
    assert "names one thing" in capsys.readouterr().err
    (tmp_path / "again" / "documents.json").unlink()
    assert main(["compare", str(tmp_path / "again")]) == 1
    assert "assay evaluate" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "nowhere")]) == 1


def test_damaged_sums_are_found_and_made_anew(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "documents.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"l0"', b'"l1"', 1))
    assert main(["verify", str(tmp_path / "run")]) == 3
    assert main(["verify", str(tmp_path / "run"), "--repair"]) == 0
    assert path.read_bytes() == whole


def test_the_report_holds_the_comparisons_and_shows_them(folder: Path) -> None:
    (comparison,) = json.loads((folder / "report.json").read_text())["comparisons"]
    assert (comparison["first"], comparison["second"]) == ("Gated", "TopK")
    page = (folder / "report.html").read_text()
    assert "<summary>With intervals</summary>" in page
    assert "Gated against TopK" in page
