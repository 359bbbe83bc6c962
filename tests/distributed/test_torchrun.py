"""What a user types: torchrun -m assay train and sweep, a rank killed on the way, and the whole path of a small language model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from assay.activations import TensorSource, harvest
from assay.activations.planted import Planted
from assay.cli import main
from assay.dictionary import Dictionary
from tests.tiny_language import write_model, write_texts

SOON = 30.0
"""Seconds within which torchrun and all ranks must be gone after one was killed; the promise is 60."""
RUN = """
name = "small"

[harvest]
site = "0"
tokens = 600

[batches]
size = 64

[train]
steps = {steps}
learning_rate = 0.005
checkpoint_every = 20
log_every = 5

[dictionaries.gated]
variant = "gated"
width = 32
sparsity.value = 0.2

[dictionaries.topk]
variant = "topk"
width = 32
k = 3

[sweep]
gated = [0.1, 0.3]
"""


def torchrun(ranks: int, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, "-m", "assay", *map(str, arguments)], env=environment, **pipes)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return output, error


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its entry."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Activations of a layer that passes planted rows on."""
    folder = tmp_path_factory.mktemp("store")
    source = TensorSource(input=Planted(width=16, atoms=24, active=2.0).sample(1000, key=1))
    harvest(torch.nn.Sequential(torch.nn.Identity()), source, ["0"], folder / "activations", tokens=600)
    return folder / "activations"


def workspace(root: Path, name: str, store: Path) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "activations").symlink_to(store)
    return folder


def assert_near(folder: Path, other: Path) -> None:
    names = sorted(path.name for path in (other / "dictionaries").iterdir())
    assert names == sorted(path.name for path in (folder / "dictionaries").iterdir())
    for name in names:
        ours, theirs = (Dictionary.load(place / "dictionaries" / name) for place in (folder, other))
        assert ours.provenance == theirs.provenance
        for key, tensor in theirs.state_dict().items():
            gap = (ours.state_dict()[key] - tensor).abs().max().item()
            assert gap <= 1e-5 * max(tensor.abs().max().item(), 1e-30), (name, key)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the ranks by /proc")
def test_train_survives_a_killed_rank_and_ends_as_one_process_does(tmp_path: Path, store: Path) -> None:
    toml = tmp_path / "small.toml"
    toml.write_text(RUN.format(steps=240))
    parallel, alone = workspace(tmp_path, "parallel", store), workspace(tmp_path, "alone", store)
    process = torchrun(2, "train", toml, "--out", parallel)
    log = parallel / "training" / "progress.jsonl"
    while not (log.exists() and len(log.read_text().splitlines()) > 12):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    ranks = children(process.pid)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    killed = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - killed < SOON
    assert process.returncode != 0
    assert not any(map(runs, ranks))
    assert "exitcode  : -9" in error
    assert "rank 0 lost another rank" in error or "stopped by a signal" in error
    output, error = finish(torchrun(2, "train", toml, "--out", parallel))
    assert output.split() == [str(parallel / "dictionaries" / name) for name in ("gated", "topk")]
    assert error.count("train: step 240/240") == 1
    assert json.loads(log.read_text().splitlines()[-1])["step"] == 240
    assert main(["train", str(toml), "--out", str(alone)]) == 0
    assert_near(parallel, alone)


def test_sweep_holds_its_latents_in_shards(tmp_path: Path, store: Path) -> None:
    toml = tmp_path / "small.toml"
    toml.write_text(RUN.format(steps=40))
    parallel, alone = workspace(tmp_path, "parallel", store), workspace(tmp_path, "alone", store)
    finish(torchrun(2, "sweep", toml, "--out", parallel, "--set", "train.latent_shards=2"))
    assert main(["sweep", str(toml), "--out", str(alone)]) == 0
    assert_near(parallel, alone)
    assert main(["verify", str(parallel)]) == 0


@pytest.mark.four_ranks
def test_the_whole_path_of_a_language_model_with_four_ranks(tmp_path: Path) -> None:
    write_model(tmp_path / "lm")
    write_texts(tmp_path / "texts")
    toml = tmp_path / "small.toml"
    settings = RUN.format(steps=60).replace('site = "0"\ntokens = 600', 'site = "resid_post.1"\ntokens = 2000')
    source = f'[model]\nname = "{tmp_path}/lm"\n[source]\ntexts = "{tmp_path}/texts"\ncontext = 16\nheld_out = 0.3\n'
    toml.write_text(settings + source + "[evaluate]\ntokens = 300\n[latents]\ncount = 2\n")
    out = tmp_path / "out"
    assert main(["harvest", str(toml), "--out", str(out)]) == 0
    finish(torchrun(4, "sweep", toml, "--out", out, "--set", "train.latent_shards=2"))
    for verb in ("evaluate", "report", "verify"):
        assert main([verb, str(out)]) == 0
    assert {row["arm"] for row in json.loads((out / "report.json").read_text())["records"]} == {
        "gated-0.1",
        "gated-0.3",
        "topk-3",
    }
