"""Workers that know nothing of each other end, merged, with the folder of one process: in any order, killed, doubled, renumbered."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from assay import disk
from assay.activations import ActivationStore, harvest
from assay.activations.produce import Producer
from assay.activations.share import Chosen
from assay.activations.store import verify_store
from assay.errors import MissingMaterial, OutOfDisk, StoreError

SITES = ("0.out", "1.out")
FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Killed(BaseException):
    """Nobody catches it: as good as a kill for what is on disk."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def manifests(folder: Path, site: str = SITES[0]) -> list[Path]:
    return sorted((folder / site).glob("manifest.*.jsonl"))


def made(monkeypatch: pytest.MonkeyPatch, *, kill_at: int | None = None) -> list[int]:
    """The shards that are made from now on; the process is killed in the middle of the one at a place of that list."""
    shards, make = [], Producer.shards

    def watched(self: Producer, index: int, *arguments: Any) -> Any:
        shards.append(index)
        if kill_at == len(shards) - 1:
            raise Killed
        return make(self, index, *arguments)

    monkeypatch.setattr(Producer, "shards", watched)
    return shards


@pytest.mark.parametrize("count", [1, 2, 3, 15])
def test_workers_in_any_order_and_a_merge_end_with_the_folder_of_one_process(work, folder, alone, count):
    order = list(range(count))
    random.Random(count).shuffle(order)
    for index in order:
        work((index, count))
    work()
    assert contents(folder) == alone


def test_a_worker_makes_every_nth_shard_and_writes_a_manifest_of_its_own(work, folder, monkeypatch):
    shards = made(monkeypatch)
    work((1, 3))
    assert shards == [1, 4, 7, 10]
    (manifest,) = manifests(folder)
    assert manifest.name.startswith("manifest.2of3.")
    assert len(manifest.read_text().splitlines()) == 4
    assert not (folder / SITES[0] / "manifest.jsonl").exists()


def test_stores_are_returned_by_the_worker_that_finds_them_complete(work):
    assert work((0, 2)) == {}
    assert {name: store.rows for name, store in work((1, 2)).items()} == {"0": 55, "1": 55}
    assert len(work((0, 2))) == 2


def test_a_worker_that_is_killed_and_started_again_makes_only_what_lacks(work, folder, alone, monkeypatch):
    with monkeypatch.context() as patch:
        made(patch, kill_at=2)
        with pytest.raises(Killed):
            work((0, 2))
    again = made(monkeypatch)
    work((0, 2))
    assert again == [4, 6, 8, 10]
    assert len(manifests(folder)) == 2
    work((1, 2))
    work()
    assert contents(folder) == alone


def test_workers_that_are_killed_after_every_shard_end_alike(work, folder, alone, monkeypatch):
    for index in [0, 1, 2] * 4:
        with monkeypatch.context() as patch, suppress(Killed):
            made(patch, kill_at=1)
            work((index, 3))
    assert len(manifests(folder)) == 11
    shards = made(monkeypatch)
    work()
    assert shards == []
    assert contents(folder) == alone


def test_another_count_keeps_the_shards_that_are_there(work, folder, alone, monkeypatch):
    work((0, 2))
    shards = made(monkeypatch)
    for index in range(3):
        work((index, 3))
    assert sorted(shards) == [1, 3, 5, 7, 9]
    work()
    assert contents(folder) == alone


def test_a_harvest_alone_makes_what_workers_left(work, folder, alone, monkeypatch):
    work((2, 3))
    shards = made(monkeypatch)
    work()
    assert set(shards) == set(range(11)) - {2, 5, 8}
    assert contents(folder) == alone


def test_shards_can_be_handed_out_one_by_one(work, folder, alone):
    for shard in (7, 0, 7, 10):
        work(Chosen("ray", frozenset({shard})))
    assert [path.name.split(".")[1] for path in manifests(folder)] == ["ray"] * 3
    work()
    assert contents(folder) == alone


@FORKS
def test_every_worker_started_twice_at_once_harms_nothing(work, folder, alone):
    processes = []
    gate, opened = os.pipe()
    for index in (0, 1, 0, 1, 2, 2):
        if (process := os.fork()) == 0:
            os.close(opened)
            os.read(gate, 1)  # all wait here until the parent closes its end
            status = 1
            try:
                work((index, 3))
                status = 0
            finally:
                os._exit(status)
        processes.append(process)
    os.close(gate)
    os.close(opened)
    assert [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes] == [0] * 6
    for site in SITES:
        assert verify_store(folder / site) == []
    work()
    assert contents(folder) == alone


@FORKS
@pytest.mark.parametrize("merging", [False, True])
def test_killed_before_any_sync_rename_or_removal_it_ends_with_the_same_bytes(
    eleven_shards, tmp_path, monkeypatch, merging
):
    """The second worker, or the merge after both, dies at each point in turn; then everything is started once more."""
    few = {**eleven_shards, "tokens": 13, "batch_contexts": 5}
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)

    def last(folder: Path) -> None:
        harvest(**few, folder=folder, worker=None if merging else (1, 2))

    def die_at(folder: Path, point: int) -> None:
        calls = 0

        def counted(function: Callable) -> Callable:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == point:
                    os._exit(9)
                return function(*arguments, **options)

            return call

        os.fsync, os.replace, Path.unlink = counted(os.fsync), counted(os.replace), counted(Path.unlink)
        try:
            last(folder)
            os._exit(0)
        finally:
            os._exit(1)

    harvest(**few, folder=tmp_path / "whole")
    whole, point, status = contents(tmp_path / "whole"), 0, 9
    shards = made(monkeypatch)
    while status == 9:
        point += 1
        folder = tmp_path / f"killed-{point}"
        for index in range(2 if merging else 1):
            harvest(**few, folder=folder, worker=(index, 2))
        if (process := os.fork()) == 0:
            die_at(folder, point)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        shards.clear()
        harvest(**few, folder=folder, worker=(1, 2))
        harvest(**few, folder=folder)
        assert not (merging and shards), f"killed at point {point} it lost shards"
        assert contents(folder) == whole, f"killed at point {point}"
    assert status == 0
    assert point > 8


def test_a_worker_removes_nothing_of_anybody(work, folder):
    work((0, 3))
    site = folder / SITES[0]
    (site / "shard-00001.safetensors").write_bytes(b"renamed into place, its line not written yet")
    (site / "shard-00004.safetensors.part4711").write_bytes(b"half of what another machine writes")
    before = contents(folder)
    work((2, 3))
    assert before.items() <= contents(folder).items()
    work()
    assert verify_store(site) == []


def test_a_finished_worker_runs_nothing_and_writes_nothing(work, folder, monkeypatch):
    work((0, 2))
    before, shards = contents(folder), made(monkeypatch)
    work((0, 2))
    assert shards == []
    assert contents(folder) == before


def test_a_store_whose_shards_are_all_there_can_be_used_before_the_merge(work, folder):
    work((0, 2)), work((1, 2))
    site = folder / SITES[1]
    assert verify_store(site) == []
    before = list(islice(ActivationStore.open(site, batch_size=7).batches(), 9))
    work()
    assert all(map(torch.equal, before, islice(ActivationStore.open(site, batch_size=7).batches(), 9)))


@pytest.mark.parametrize("worker", [None, (1, 2)])
@pytest.mark.parametrize("change", [{"seed": 1}, {"dtype": "bfloat16"}, {"tokens": 50}, {"rows_per_shard": 11}])
def test_a_worker_of_another_harvest_is_refused_either_way(work, folder, worker, change):
    work((0, 2), **change)
    before = contents(folder)
    with pytest.raises(StoreError, match=f"another harvest.*{next(iter(change))}"):
        work(worker)
    assert contents(folder) == before


def test_a_worker_notices_when_another_harvest_takes_its_folder(work, folder, eleven_shards, monkeypatch):
    make, other = Producer.shards, folder.with_name("other")
    work((0, 2), folder=other, seed=1)

    def intrude(self: Producer, index: int, *arguments: Any) -> Any:
        if index == 2:
            shutil.copy(other / SITES[0] / "store.json", folder / SITES[0] / "store.json")
        return make(self, index, *arguments)

    monkeypatch.setattr(Producer, "shards", intrude)
    with pytest.raises(StoreError, match=r"another harvest.*seed"):
        work((0, 2))
    assert not (folder / SITES[0] / "shard-00002.safetensors").exists()


def test_another_spelling_of_the_site_shares_the_store_and_the_merge_decides(work, folder, alone):
    work((0, 2), sites=["0:out", "1:out"])
    work((1, 2))
    assert disk.read_json(folder / SITES[0] / "store.json")["asked"] == "0:out"
    work()
    assert contents(folder) == alone


def test_a_torn_last_line_of_a_worker_costs_one_shard(work, folder, alone, monkeypatch):
    work((0, 2)), work((1, 2))
    torn = manifests(folder)[0]
    torn.write_bytes(torn.read_bytes()[:-9])
    shards = made(monkeypatch)
    work()
    assert shards == [10]
    assert contents(folder) == alone


def test_a_shard_that_was_lost_after_its_line_is_made_again(work, folder, alone, monkeypatch):
    work((0, 2)), work((1, 2))
    (folder / SITES[1] / "shard-00003.safetensors").unlink()
    assert "is missing" in verify_store(folder / SITES[1])[0]
    shards = made(monkeypatch)
    work((1, 2))
    assert shards == [3]
    work()
    assert contents(folder) == alone


def test_room_is_asked_for_the_workers_own_shards_only(work, folder, monkeypatch):
    free = 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, free))
    with pytest.raises(OutOfDisk):
        work()
    with pytest.raises(OutOfDisk):
        work((0, 2))
    work((0, 11))
    assert len(list(folder.rglob("shard-*.safetensors"))) == 2


def test_progress_counts_the_workers_own_rows(work):
    told: list[tuple[int, int]] = []
    work((1, 3), progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 20)
    assert told[-1] == (20, 20)
    told.clear()
    work((1, 3), progress=lambda done, total: told.append((done, total)))
    assert told == [(20, 20)]


def test_a_worker_whose_store_is_deleted_stops_and_writes_no_orphan(work, folder, monkeypatch):
    make = Producer.shards

    def delete(self: Producer, index: int, *arguments: Any) -> Any:
        if index == 2:
            shutil.rmtree(folder)
        return make(self, index, *arguments)

    monkeypatch.setattr(Producer, "shards", delete)
    with pytest.raises(MissingMaterial, match=r"store\.json"):
        work((0, 2))
    assert not folder.exists()
