"""A harvest on disk: complete, resumable to the same bytes, and never mixed with another."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from assay import disk, tensor_file
from assay.activations import ActivationStore, TensorSource, TextSource, harvest
from assay.activations.store import verify_store
from assay.errors import ConfigError, CorruptData, Diverged, OutOfDisk, SiteNotFound, StoreError

SITES = ["embed", "layers.1"]
EMBED, LAYER = "embed.out", "layers.1.out"


@pytest.fixture
def source(documents, tokenizer) -> TextSource:
    return TextSource(documents, tokenizer, context=16)


@pytest.fixture
def run(model, source, tmp_path) -> Callable[..., dict[str, ActivationStore]]:
    def run(folder: Path = tmp_path / "store", **changes) -> dict[str, ActivationStore]:
        settings = {"tokens": 500, "rows_per_shard": 200, "batch_contexts": 4, "identity": {"name": "echo"}}
        settings |= {"model": model, "source": source, "sites": SITES, **changes}
        return harvest(settings.pop("model"), settings.pop("source"), settings.pop("sites"), folder, **settings)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_harvest_is_a_folder_a_site(run, tmp_path):
    stores = run()
    names = ["manifest.jsonl", *(f"shard-0000{index}.safetensors" for index in range(3)), "store.json"]
    assert list(stores) == SITES
    for site in (EMBED, LAYER):
        assert sorted(path.name for path in (tmp_path / "store" / site).iterdir()) == names
        assert verify_store(tmp_path / "store" / site) == []
    assert {store.rows for store in stores.values()} == {500}
    assert stores["embed"].identity["site"] == "embed:out"


def test_a_finished_harvest_called_again_runs_nothing_and_changes_nothing(run, model, tmp_path):
    run()
    before, forwards = contents(tmp_path), len(model.seen)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    told = []
    stores = run(progress=lambda done, total: told.append((done, total)))
    assert len(model.seen) == forwards
    assert contents(tmp_path) == before
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    assert told == [(500, 500)]
    assert stores["embed"].rows == 500


def test_progress_rises_to_all_rows(run):
    told = []
    run(progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 500)
    assert told[-1] == (500, 500)
    assert told == sorted(told)
    assert len(told) > 6


def test_all_sites_are_read_in_one_pass_a_batch(run, model):
    run()
    both = len(model.seen)
    model.seen.clear()
    run(folder=Path(run()["embed"]._provider.folder.parent.parent / "one"), sites=["embed"])
    assert len(model.seen) == both


def test_another_site_can_be_added_without_touching_the_first(run, tmp_path):
    run(sites=["embed"])
    before = contents(tmp_path / "store" / EMBED)
    run(sites=SITES)
    assert contents(tmp_path / "store" / EMBED) == before
    run(folder=tmp_path / "fresh")
    assert contents(tmp_path / "store") == contents(tmp_path / "fresh")


def test_an_error_in_the_middle_leaves_a_harvest_that_goes_on_to_the_same_bytes(run, model, tmp_path, monkeypatch):
    run(folder=tmp_path / "whole")
    written, write = [], disk.write

    def fail_at_the_fourth_shard(path: Path, data: Any) -> None:
        if path.suffix == ".safetensors":
            written.append(path.name)
            if len(written) == 4:
                path.with_name(f"{path.name}.part1").write_bytes(b"half of it")
                raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(disk, "write", fail_at_the_fourth_shard)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.undo()
    with pytest.raises(StoreError, match="1 of 3 shards"):
        ActivationStore.open(tmp_path / "store" / LAYER)
    model.seen.clear()
    told = []
    run(progress=lambda done, total: told.append(done))
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")
    assert 0 < told[0] < 500
    done_before = json.loads((tmp_path / "store" / LAYER / "manifest.jsonl").read_text().splitlines()[0])["rows"]
    assert told[0] == done_before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_before_any_sync_or_rename_it_ends_with_the_same_bytes(tmp_path, monkeypatch):
    """A process that is killed loses nothing that it wrote, so what a sync leaves behind is what the next call finds."""
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(9, 3)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)

    def run(folder: Path) -> None:
        harvest(model, TensorSource(input=rows), ["0", "1"], folder, tokens=8, rows_per_shard=5)

    def die_at(folder: Path, point: int) -> None:
        calls = 0

        def counted(function: Callable) -> Callable:
            def call(*args):
                nonlocal calls
                calls += 1
                if calls == point:
                    os._exit(9)
                function(*args)

            return call

        os.fsync, os.replace = counted(os.fsync), counted(os.replace)
        try:
            run(folder)
        finally:
            os._exit(0)

    run(tmp_path / "whole")
    expected, point, status = contents(tmp_path / "whole"), 0, 9
    while status == 9:
        point += 1
        folder = tmp_path / f"killed-{point}"
        if (process := os.fork()) == 0:
            die_at(folder, point)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        run(folder)
        assert contents(folder) == expected, f"killed at point {point}"
    assert status == 0
    once_a_site = 1 + 3 + 1  # its folder synced into the one above, store.json, the new manifest synced into its folder
    assert point == 1 + 2 * (once_a_site + 2 * 4) + 1


def test_a_shard_that_was_deleted_or_cut_is_made_again_and_nothing_else(run, model, tmp_path):
    run()
    before = contents(tmp_path)
    (tmp_path / "store" / EMBED / "shard-00000.safetensors").unlink()
    with open(tmp_path / "store" / LAYER / "shard-00001.safetensors", "r+b") as file:
        file.truncate(100)
    model.seen.clear()
    told = []
    run(progress=lambda done, total: told.append(done))
    assert contents(tmp_path) == before
    assert told[0] == 500 - sum(ActivationStore.open(tmp_path / "store" / EMBED)._order.rows[:2])


def test_a_lost_manifest_costs_the_shards_but_not_the_result(run, tmp_path):
    run()
    before = contents(tmp_path)
    (tmp_path / "store" / EMBED / "manifest.jsonl").unlink()
    run()
    assert contents(tmp_path) == before


def test_a_torn_last_line_is_mended(run, tmp_path):
    run()
    before = contents(tmp_path)
    manifest = tmp_path / "store" / EMBED / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    run()
    assert contents(tmp_path) == before


def test_a_damaged_line_is_not_used(run, tmp_path):
    run()
    manifest = tmp_path / "store" / EMBED / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 2', b'"rows": 3', 1))
    with pytest.raises(CorruptData, match=r"line 1 .*manifest\.jsonl"):
        run()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"identity": {"name": "another"}}, "model.name: 'echo' then, 'another' now"),
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"tokens": 400}, "tokens"),
        ({"rows_per_shard": 100}, "rows_per_shard"),
    ],
)
def test_another_harvest_in_the_same_folder_is_refused_and_says_what_differs(run, tmp_path, changes, named):
    run()
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=named) as caught:
        run(**changes)
    assert "another folder, or delete" in str(caught.value)
    assert contents(tmp_path) == before


def test_other_text_or_another_model_is_refused(run, documents, tokenizer, make_model):
    run()
    with pytest.raises(StoreError, match=r"source\.documents\.xxh3_128"):
        run(source=TextSource([*documents, "w1"], tokenizer, context=16))
    with pytest.raises(StoreError, match=r"model\.parameters"):
        run(model=make_model(width=8))


def test_a_site_of_another_width_is_refused_when_the_harvest_goes_on(run, model, tmp_path):
    run()
    (tmp_path / "store" / EMBED / "shard-00002.safetensors").unlink()
    model.embed.forward = lambda ids: torch.zeros(*ids.shape, 9)
    with pytest.raises(StoreError, match="width: 6 then, 9 now"):
        run(sites=["embed"])


def test_shards_without_their_description_are_not_overwritten(run, tmp_path):
    run()
    (tmp_path / "store" / EMBED / "store.json").unlink()
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"without store\.json"):
        run()
    assert contents(tmp_path) == before


def test_two_spellings_of_a_site_share_a_folder(run, tmp_path):
    stores = run(sites=["layers.1", "layers.1:out"])
    assert list(stores) == ["layers.1", "layers.1:out"]
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_the_description_keeps_the_spelling_that_was_used_last(run, tmp_path):
    def asked() -> str:
        return disk.read_json(tmp_path / "store" / LAYER / "store.json")["asked"]

    identity = run(sites=["layers.1"])["layers.1"].identity
    assert asked() == "layers.1"
    shards = contents(tmp_path / "store" / LAYER)
    assert run(sites=["layers.1:out"])["layers.1:out"].identity == identity
    assert asked() == "layers.1:out"
    assert verify_store(tmp_path / "store" / LAYER) == []
    changed = contents(tmp_path / "store" / LAYER)
    assert {name for name in shards if shards[name] != changed[name]} == {"store.json"}


def test_an_activation_that_does_not_fit_is_never_published(run, model, source, tmp_path):
    last = source.inputs(0, len(source)).arguments["input_ids"].flatten()[-2]
    with torch.no_grad():
        model.embed.weight[last, 3] = 1e5
    with pytest.raises(Diverged, match="bfloat16"):
        run(tokens=int(source.inputs(0, len(source)).keep.sum()))
    for path in (tmp_path / "store").rglob("shard-*"):
        assert verify_shard_is_finite(path)
    assert not list(tmp_path.rglob("*.part*"))


def verify_shard_is_finite(path: Path) -> bool:
    return bool(torch.isfinite(tensor_file.read(path)["activations"]).all())


def test_a_disk_that_is_too_small_is_noticed_before_the_first_pass(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(OutOfDisk, match=r"1,000 bytes are free.*expected [\d,]{6,} for"):
        run()
    assert len(model.seen) == 1
    assert not (tmp_path / "store").exists()


def test_a_disk_that_fills_up_is_said_and_the_harvest_goes_on_later(run, tmp_path, monkeypatch):
    run(folder=tmp_path / "whole")
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 9:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfDisk) as caught:
        run()
    assert caught.value.exit_code == 5
    monkeypatch.undo()
    run()
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_no_site_or_an_unknown_one_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="no site"):
        run(sites=[])
    with pytest.raises(SiteNotFound):
        run(sites=["layers.17"])
    assert not (tmp_path / "store").exists()


def test_too_few_rows_leave_no_folder(run, tmp_path):
    with pytest.raises(StoreError, match="rows"):
        run(tokens=10**6)
    assert not (tmp_path / "store").exists()
