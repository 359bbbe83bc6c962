"""Damage to a run is found, and `--repair` brings every byte back by making again what was damaged, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assay import disk
from assay.cli import main
from assay.errors import MissingMaterial
from assay.run import verify


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the clock's notes and the report, which shows them."""
    clocks = {"timings.json", "report.json", "report.html"}
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in clocks)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a bit of a shard": lambda run: flipped(sorted(run.rglob("shard-*"))[1]),
    "a shard lost": lambda run: sorted(run.rglob("shard-*"))[0].unlink(),
    "a bit of a manifest": lambda run: flipped(next(run.rglob("manifest.jsonl"))),
    "no manifest": lambda run: next(run.rglob("manifest.jsonl")).unlink(),
    "a bit of store.json": lambda run: flipped(next(run.rglob("store.json"))),
    "no store.json": lambda run: next(run.rglob("store.json")).unlink(),
    "a bit of a checkpoint": lambda run: flipped(next((run / "training").rglob("*.safetensors"))),
    "no MANIFEST of a checkpoint": lambda run: next((run / "training").rglob("MANIFEST.json")).unlink(),
    "a bit of the log": lambda run: flipped(run / "training" / "progress.jsonl"),
    "a bit of a dictionary": lambda run: flipped(next((run / "dictionaries").rglob("*.safetensors"))),
    "no MANIFEST of a dictionary": lambda run: next((run / "dictionaries").rglob("MANIFEST.json")).unlink(),
    "a bit of the evaluation": lambda run: flipped(run / "evaluation.json"),
    "a bit of the examples": lambda run: flipped(run / "latents.json"),
    "a bit of the report": lambda run: flipped(run / "report.json"),
    "a bit of the page": lambda run: flipped(run / "report.html"),
    "a bit of the timings": lambda run: flipped(run / "timings.json"),
    "a leftover": lambda run: (run / "run.json.part123").write_text("{"),
    "a stranger among the tensors": lambda run: (next((run / "dictionaries").iterdir()) / "more").write_text("?"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_and_repaired(damaged: Path, damage: Callable[[Path], None]) -> None:
    whole = contents(damaged)
    assert verify.verify(damaged).findings == []
    damage(damaged)
    assert main(["verify", str(damaged)]) == 3
    assert main(["verify", str(damaged), "--repair"]) == 0
    assert contents(damaged) == whole
    assert (damaged / "report.html").exists()


def test_a_report_keeps_its_command_as_long_as_one_of_its_files_is_whole(damaged: Path) -> None:
    command = disk.read_sealed(damaged / "report.json")["command"]
    assert command != f"assay report {damaged}"
    for name in ("report.json", "report.html"):
        flipped(damaged / name)
        verify.repair(damaged)
        assert disk.read_sealed(damaged / "report.json")["command"] == command
    page = (damaged / "report.html").read_text(encoding="utf-8")
    (damaged / "report.html").write_text(page.replace("assay report", "assay repost"), encoding="utf-8")
    flipped(damaged / "report.json")
    verify.repair(damaged)
    assert disk.read_sealed(damaged / "report.json")["command"] == f"assay report {damaged}"
    assert verify.verify(damaged).findings == []


def test_only_the_damaged_shard_is_made_again(damaged: Path) -> None:
    shards = sorted(damaged.rglob("shard-*"))
    before = {path: path.stat().st_mtime_ns for path in shards}
    flipped(shards[1])
    verify.repair(damaged)
    assert [path for path in shards if path.stat().st_mtime_ns != before[path]] == [shards[1]]


def test_a_part_of_a_run_is_repaired_too(damaged: Path) -> None:
    whole = contents(damaged)
    store = next((damaged / "activations").iterdir())
    flipped(next(store.glob("shard-*")))
    assert main(["verify", str(store), "--repair"]) == 0
    assert contents(damaged) == whole


def test_lost_settings_are_said_to_be_the_users(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flipped(damaged / "run.json")
    assert main(["verify", str(damaged), "--repair"]) == 3
    assert "TOML" in capsys.readouterr().err


def test_a_store_that_belongs_to_no_run_cannot_be_repaired(damaged: Path, tmp_path: Path) -> None:
    store = shutil.copytree(next((damaged / "activations").iterdir()), tmp_path / "alone")
    with pytest.raises(MissingMaterial, match="how it was made"):
        verify.repair(store)


def test_the_seal_of_a_record_covers_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    disk.write_sealed(path, {"a": [1, 2.5e-07, None], "b": {"c": "text"}})
    assert disk.read_sealed(path) == {"a": [1, 2.5e-07, None], "b": {"c": "text"}}
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(disk.CorruptData):
            disk.read_sealed(path)
