"""Under a limit on memory a stage ends with exit code 6 and advice, what is on disk stays whole, and without the limit it goes on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.activations import TensorSource, harvest
from assay.cli import main
from assay.ops import kernels
from assay.run import Run
from benchmarks.memory import TINY, Case, arm, training
from benchmarks.memory_body import write_tiny_llama

MIB = 1 << 20
LIMITED = """
import json, resource, sys, torch
torch.set_num_threads(1)
from assay.cli import main
from assay.ops import kernels
from assay.run.needs.available import STATUS, _kibibytes
import assay.cli.harvest, assay.cli.train, assay.cli.evaluate
if {transformers}:
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
kernels.prepare()
torch.mm(torch.ones(64, 64), torch.ones(64, 64))
limit = _kibibytes(STATUS, "VmSize") + {room}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(json.loads(sys.argv[1])))
"""
CHANGE = re.compile(r"--set (\S+)=(\S+) saves ([\d.]+) ([KMG]iB)")


def limited(room: int, *arguments: str | Path, transformers: bool = False) -> subprocess.CompletedProcess[str]:
    """A verb in a process that may have `room` bytes more than it has once everything is imported."""
    code = LIMITED.format(room=room, transformers=transformers)
    command = [sys.executable, "-c", code, json.dumps([str(argument) for argument in arguments])]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def advice(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The changes that the message ends with."""
    assert done.returncode == 6, done.stderr
    assert "Traceback" not in done.stderr
    *_, message = done.stderr.strip().splitlines()
    assert message.startswith("error: memory ran out in the stage")
    assert message.endswith("B.")
    found = {key: value for key, value, _, _ in CHANGE.findall(message)}
    assert 1 <= len(found) <= 3
    return found


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".part" in path.name or ".old" in path.name]


@pytest.fixture
def write(tmp_path: Path):
    kernels.prepare()

    def to_file(case: Case) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(case.toml(tmp_path), encoding="utf-8")
        return path

    return to_file


def synthetic_store(folder: Path, rows: int, depth: int) -> None:
    import torch

    source = TensorSource(positions=64, input=torch.randn(rows // 64, 64, depth))
    harvest(torch.nn.Sequential(torch.nn.Identity()), source, ["0"], folder / "activations", tokens=rows)


def test_training(write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(training("t", 16, 2048, {"gated": arm("gated", 16_384)}, steps=2)), tmp_path / "out"
    synthetic_store(out, 4096, 16)
    found = advice(limited(350 * MIB, "train", path, "--out", out))
    assert next(iter(found)) == "batches.size"
    assert found["batches.size"] == "1024"
    assert not leftovers(out)
    assert not list((out / "dictionaries").glob("*"))
    assert main(["verify", str(out)]) == 0
    assert main(["train", str(path), "--out", str(out), "--set", "batches.size=256"]) == 0
    capsys.readouterr()


def test_the_first_change_is_enough_where_little_is_missing(write, tmp_path: Path) -> None:
    path, out = write(training("t", 16, 2048, {"gated": arm("gated", 16_384)}, steps=2)), tmp_path / "out"
    synthetic_store(out, 4096, 16)
    assert limited(700 * MIB, "train", path, "--out", out).returncode == 6
    assert limited(700 * MIB, "train", path, "--out", out, "--set", "batches.size=1024").returncode == 0


def test_harvest(write, tmp_path: Path) -> None:
    settings = {"harvest.batch_contexts": 2048, "harvest.tokens": 262_144, "harvest.rows_per_shard": 262_144}
    path, out = write(Case("h", "harvest", TINY, settings=settings)), tmp_path / "out"
    write_tiny_llama(tmp_path)
    found = advice(limited(300 * MIB, "harvest", path, "--out", out, transformers=True))
    assert found["harvest.batch_contexts"] == "1024"
    assert not leftovers(out)


def test_evaluation(write, tmp_path: Path) -> None:
    dials = list(range(1, 17))
    case = Case("e", "evaluate", TINY, arms={"topk": arm("topk", 65_536)}, sweep={"topk": dials},
                settings={"harvest.tokens": 2000, "evaluate.tokens": 100})  # fmt: skip
    path, out = write(case), tmp_path / "out"
    write_tiny_llama(tmp_path)
    assert main(["harvest", str(path), "--out", str(out)]) == 0
    save_untrained(path, out, dials)
    done = limited(300 * MIB, "evaluate", path, "--out", out, transformers=True)
    assert "sweep.topk" in advice(done)
    assert not leftovers(out)
    assert not (out / "evaluation.json").exists()


def save_untrained(path: Path, out: Path, dials: Sequence[int]) -> None:
    from assay.config import parse, read_toml

    run = parse(Run, read_toml(path), where=str(path))
    for name, settings in run.arms(64, sweep=True).items():
        settings.build().save(out / "dictionaries" / name)
