"""The shell's side: exit codes, messages without tracebacks, and help that starts at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from assay import disk
from assay.activations import TensorSource, harvest
from assay.activations.planted import Planted
from assay.cli import VERBS, main
from assay.cli.guard import run_guarded

RUN = """
name = "small"

[harvest]
site = "resid_post.1"
tokens = 600

[batches]
size = 64

[train]
steps = 30
learning_rate = 0.01
checkpoint_every = 10
log_every = 5

[dictionaries.gated]
variant = "gated"
width = 32
sparsity.value = 0.2

[sweep]
gated = [0.1, 0.3]
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RUN)
    return path


@pytest.fixture
def harvested(run: Path, tmp_path: Path) -> Path:
    """The folder of that run, its activations those of a layer that passes planted rows on."""
    folder = tmp_path / "out"
    rows = Planted(width=16, atoms=24, active=2.0).sample(1000, key=1)
    source = TensorSource(input=rows)
    harvest(torch.nn.Sequential(torch.nn.Identity()), source, ["0"], folder / "activations", tokens=600)
    site = next((folder / "activations").glob("*/store.json")).parent
    description = json.loads((site / "store.json").read_text())
    assert description["asked"] == "0"
    run.write_text(RUN.replace("resid_post.1", "0"))
    return folder


def fails(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"assay {verb}" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    heavy = "[name for name in ('torch', 'tyro', 'pydantic') if name in sys.modules]"
    probe = f"import sys; from assay.cli import main; main(['--help']); print({heavy})"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.endswith("[]\n")


def test_nothing_to_do_is_a_usage_error() -> None:
    assert main([]) == 2


def test_an_unknown_verb_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'harvest'?" in fails(capsys, 2, "harvst")


def test_an_unknown_flag_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--frobnicate"]) == 2
    assert "frobnicate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.stepz=5", "unknown setting 'train.stepz'; expected 'steps' (did you mean that?)"),
        ("train.steps=0", "train.steps = 0"),
        ("train.steps=many", "train.steps = 'many'"),
        ("harvest.dtype=float8", "harvest.dtype = 'float8'"),
        ("sweep.relu=[1]", "'relu' is none"),
        ("name=../up", "name = '../up'"),
        ("nonsense", "'nonsense' has no '='"),
    ],
)
def test_a_wrong_setting_is_named(run: Path, setting: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in fails(capsys, 1, "train", run, "--set", setting)


def test_a_wrong_key_in_the_file_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_text(RUN.replace("learning_rate", "learning_rte"))
    assert "learning_rate" in fails(capsys, 1, "train", run)


def test_broken_toml_names_the_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_text(RUN + "\n[train\n")
    assert "line" in fails(capsys, 1, "train", run)


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.toml" in fails(capsys, 1, "train", tmp_path / "nowhere.toml")


def test_an_unknown_recipe_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'demo'?" in fails(capsys, 1, "train", "demmo")


def test_a_stray_folder_does_not_hide_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert "activations of resid_post.9" in fails(capsys, 1, "train", "demo")


def test_a_folder_without_a_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run.json" in fails(capsys, 1, "train", tmp_path)


def test_an_unknown_variant_suggests_the_nearest(
    harvested: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_text(run.read_text().replace('"gated"', '"gatd"'))
    assert "Did you mean 'gated'?" in fails(capsys, 1, "train", run, "--out", harvested)


def test_a_wrong_width_says_the_right_one(harvested: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(capsys, 1, "train", run, "--out", harvested, "--set", "dictionaries.gated.d_in=17")
    assert "d_in = 17; expected 16" in error


def test_training_before_the_harvest_says_so(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "assay harvest" in fails(capsys, 1, "train", run, "--out", tmp_path / "none")


def test_train_saves_and_a_second_time_does_nothing(
    harvested: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(run), "--out", str(harvested)]) == 0
    assert capsys.readouterr().out.split() == [str(harvested / "dictionaries" / "gated")]
    before = {path: path.stat().st_mtime_ns for path in (harvested / "training").rglob("*.safetensors")}
    assert main(["train", str(harvested)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (harvested / "training").rglob("*.safetensors")} == before


def test_sweep_trains_each_dial(harvested: Path, run: Path) -> None:
    assert main(["sweep", str(run), "--out", str(harvested), "--set", "seeds=[0,1]"]) == 0
    names = {path.name for path in (harvested / "dictionaries").iterdir()}
    assert names == {"gated-0.1-s0", "gated-0.1-s1", "gated-0.3-s0", "gated-0.3-s1"}


def test_sigterm_exits_75_and_the_same_command_goes_on_to_the_same_bytes(harvested: Path, run: Path) -> None:
    whole = harvested.with_name("whole")
    shutil.copytree(harvested, whole)
    more = ["--set", "train.steps=800", "--set", "train.checkpoint_every=300"]
    command = [sys.executable, "-m", "assay", "train", str(run), *more]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # two threads wait for each other when the machine is busy
    process = subprocess.Popen([*command, "--out", str(harvested)], stderr=subprocess.PIPE, text=True, env=alone)
    while not (harvested / "training" / "progress.jsonl").exists():
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75, error
    assert "goes on from the checkpoint" in error
    for folder in (harvested, whole):
        subprocess.run([*command, "--out", str(folder)], check=True, capture_output=True, env=alone)
    for kind in ("dictionaries", "training"):
        files = {path.relative_to(whole): path.read_bytes() for path in (whole / kind).rglob("*") if path.is_file()}
        assert files
        assert files == {
            path.relative_to(harvested): path.read_bytes() for path in (harvested / kind).rglob("*") if path.is_file()
        }


def test_a_corrupt_shard_exits_3_in_train_and_in_verify(
    harvested: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = next(harvested.rglob("shard-*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-100] ^= 4
    shard.write_bytes(bytes(data))
    assert shard.name in fails(capsys, 3, "train", run, "--out", harvested)
    assert main(["verify", str(harvested), "--json"]) == 3
    assert shard.name in json.loads(capsys.readouterr().out)["problems"][0]


def test_verify_finds_nothing_wrong_with_what_was_just_written(
    harvested: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", str(run), "--out", str(harvested)])
    assert main(["verify", str(harvested)]) == 0
    assert "as it was written" in capsys.readouterr().out


def test_verify_of_a_stranger_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "was written by assay" in fails(capsys, 1, "verify", tmp_path)


def test_a_full_disk_exits_5_and_the_command_goes_on_later(
    harvested: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, left = os.fsync, 6

    def fsync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(disk.os, "fsync", fsync)
    assert "more bytes" in fails(capsys, 5, "train", run, "--out", harvested)
    monkeypatch.setattr(disk.os, "fsync", real)
    assert main(["train", str(harvested)]) == 0


def test_divergence_exits_4(harvested: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "finite" in fails(capsys, 4, "train", run, "--out", harvested, "--set", "train.learning_rate=1e30")


def test_memory_that_runs_out_exits_6(capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> int:
        raise MemoryError

    assert run_guarded(verb, [], "assay x", "x") == 6
    assert "batches.size" in capsys.readouterr().err


def test_sigterm_in_a_verb_without_checkpoints_exits_75_too(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def verb() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        return 0

    try:
        assert run_guarded(verb, [], "assay x", "x") == 75
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "same command again" in capsys.readouterr().err


def test_a_defect_of_ours_is_not_hidden() -> None:
    def verb() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_guarded(verb, [], "assay x", "x")


def test_list_and_materials_and_doctor_speak_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"gated", "relu", "topk"} <= set(listed["dictionaries"])
    assert "l0" in listed["metrics"]
    assert main(["materials", "--json"]) == 0
    assert {"smollm2", "reviews"} <= set(json.loads(capsys.readouterr().out))
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"] == []
