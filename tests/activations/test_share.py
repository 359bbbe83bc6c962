"""What workers leave behind: manifests that are told apart, checked, and believed where they agree with the files."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from assay import disk
from assay.activations import ActivationStore
from assay.activations.harvest import SiteFolder
from assay.activations.manifest import Description
from assay.activations.produce import Producer
from assay.activations.share import Worker
from assay.activations.store import verify_store
from assay.errors import ConfigError, CorruptData, StoreError

SITES = ("0.out", "1.out")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def manifests(folder: Path, site: str = SITES[0]) -> list[Path]:
    return sorted((folder / site).glob("manifest.*.jsonl"))


def test_an_incomplete_store_says_how_many_shards_lack_and_whose_they_are(work, folder):
    work((0, 4)), work((2, 4))
    site = folder / SITES[0]
    with pytest.raises(StoreError, match="6 of 11 shards; 5 lack") as caught:
        ActivationStore.open(site)
    assert "Start workers 2/4, 4/4 again, or run the same harvest without a worker" in str(caught.value)
    (problem,) = verify_store(site)
    assert "6 of 11 shards; 5 lack" in problem
    assert "workers 2/4, 4/4" in problem
    work((1, 4))
    assert "worker 4/4 again" in verify_store(site)[0]
    work((0, 3))
    assert "Start worker 2/3 or worker 4/4 again" in verify_store(site)[0]


def test_a_damaged_manifest_of_a_worker_is_found_and_costs_its_shards_only(work, folder, alone):
    work((0, 2)), work((1, 2))
    damaged = manifests(folder)[0]
    data, chance = damaged.read_bytes(), random.Random(0)
    for byte in chance.sample(range(len(data) - 1), 60):
        damaged.write_bytes(data[:byte] + bytes([data[byte] ^ 1 << chance.randrange(8)]) + data[byte + 1 :])
        with pytest.raises(CorruptData, match=damaged.name) as caught:
            ActivationStore.open(folder / SITES[0])
        assert "repair=True" in str(caught.value)
        assert any(damaged.name in problem for problem in verify_store(folder / SITES[0]))
    for worker in (None, (0, 2), (1, 2)):
        with pytest.raises(CorruptData, match=damaged.name):
            work(worker)
    work(repair=True)
    assert contents(folder) == alone


def test_repair_makes_only_what_is_damaged_and_merges(work, folder, alone):
    work((0, 2)), work((1, 2))
    shard = folder / SITES[1] / "shard-00004.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert [shard.name in problem for problem in verify_store(folder / SITES[1])] == [True]
    told: list[int] = []
    work(repair=True, progress=lambda done, _: told.append(done))
    assert told[0] == 50
    assert contents(folder) == alone
    with pytest.raises(ConfigError, match="worker that repairs"):
        work((0, 2), repair=True)


def test_a_worker_under_which_a_harvest_alone_tidied_up_says_so_and_loses_nothing(work, folder, alone, monkeypatch):
    replace = os.replace

    def tidied(part: Path, path: Path) -> None:
        if path.name == "shard-00002.safetensors":
            monkeypatch.setattr(os, "replace", replace)
            work()
        replace(part, path)

    monkeypatch.setattr(os, "replace", tidied)
    with pytest.raises(StoreError, match="shard 2 was being written"):
        work((0, 2))
    assert contents(folder) == alone


def test_a_harvest_alone_locks_its_folder_and_workers_do_not(work, folder, monkeypatch):
    make = Producer.shards

    def nested(worker: tuple[int, int] | None):
        def shards(self: Producer, index: int, *arguments: Any) -> Any:
            monkeypatch.setattr(Producer, "shards", make)
            work(worker)
            return make(self, index, *arguments)

        return shards

    monkeypatch.setattr(Producer, "shards", nested((1, 2)))
    work((0, 2))
    (folder / SITES[0] / "shard-00003.safetensors").unlink()
    monkeypatch.setattr(Producer, "shards", nested(None))
    with pytest.raises(StoreError, match="being written by"):
        work()


def test_a_manifest_of_another_store_is_found(work, folder):
    work((0, 2)), work((1, 2))
    shutil.copy(manifests(folder, SITES[1])[0], folder / SITES[0] / "manifest.1of2.0badcafe.jsonl")
    assert any("0badcafe" in problem for problem in verify_store(folder / SITES[0]))
    with pytest.raises(CorruptData, match="0badcafe"):
        work()


def test_where_two_machines_computed_a_shard_differently_the_line_of_the_file_counts(work, folder, eleven_shards):
    """As two kinds of processors do in the last bits: here the weights differ, and the identity says they don't."""
    work((0, 2))
    other = folder.with_name("other")
    with torch.no_grad():
        changed = {name: value + 1e-3 for name, value in eleven_shards["model"].state_dict().items()}
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    model.load_state_dict(changed)
    work((0, 2), folder=other, model=model)
    for site in SITES:
        for path in [*(other / site).glob("shard-*"), *(other / site).glob("manifest.*")]:
            if path.name != "shard-00000.safetensors":
                shutil.copy(path, folder / site / path.name)
    work((1, 2))
    assert verify_store(folder / SITES[0]) == []
    stores = work()
    assert verify_store(folder / SITES[0]) == []
    assert stores["0"].rows == 55


def test_a_worker_is_written_from_one():
    assert Worker.parse("2/8") == (1, 8)
    assert str(Worker(1, 8)) == "2/8"
    assert [shard for shard in range(12) if Worker.parse("3/5").takes(shard)] == [2, 7]


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/0", "a/b", "-1/8", "1/8/2", "", "²/8"])
def test_a_worker_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match="expected"):
        Worker.parse(text)


@pytest.mark.parametrize("worker", [(2, 2), (-1, 2), (0, 0)])
def test_a_worker_outside_its_count_is_refused_before_anything_is_written(work, folder, worker):
    with pytest.raises(ConfigError, match="worker"):
        work(worker)
    assert not folder.exists()


def test_strangers_named_like_manifests_are_strangers(work, folder):
    work((0, 1))
    stranger = folder / SITES[0] / "manifest.1of1.jsonl"
    stranger.write_text("mine\n")
    assert verify_store(folder / SITES[0]) == [f"{stranger} does not belong to the store"]
    work()
    assert stranger.exists()


def test_a_worker_may_start_while_another_begins_the_store(work, folder, monkeypatch):
    look = SiteFolder._described

    def interrupted(self: SiteFolder) -> Description | None:
        found = look(self)
        monkeypatch.setattr(SiteFolder, "_described", look)
        work((0, 3))
        return found

    monkeypatch.setattr(SiteFolder, "_described", interrupted)
    work((1, 3))
    assert len(list((folder / SITES[1]).glob("shard-*"))) == 8


def test_a_store_may_be_opened_while_it_is_merged(work, folder, monkeypatch):
    work((0, 2)), work((1, 2))
    read = disk.read

    def interrupted(path: Path, size: int = -1) -> bytes:
        if path.name.startswith("manifest.1of2"):
            monkeypatch.setattr(disk, "read", read)
            work()
        return read(path, size)

    monkeypatch.setattr(disk, "read", interrupted)
    assert ActivationStore.open(folder / SITES[0]).rows == 55
    assert manifests(folder) == []
