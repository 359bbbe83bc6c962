"""Bytes on disk that are not what was written are noticed before they are used, and `verify_store` says what is wrong."""

from __future__ import annotations

import json
import random
import shutil
from itertools import islice
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from assay import disk
from assay.activations import ActivationStore, TensorSource, harvest, manifest
from assay.activations.manifest import Description, Line
from assay.activations.store import verify_store
from assay.errors import AssayError, ConfigError, CorruptData, StoreError

FIRST, SECOND = "shard-00000.safetensors", "shard-00001.safetensors"
HEADER = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store of three shards of 20 rows."""
    torch.manual_seed(0)
    source = TensorSource(input=torch.randn(60, 3))
    harvest(
        nn.Sequential(nn.Linear(3, 2)),
        source,
        ["0"],
        folder := tmp_path_factory.mktemp("whole"),
        tokens=60,
        rows_per_shard=20,
    )
    return folder / "0.out"


@pytest.fixture
def store(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


def read_everything(folder: Path) -> None:
    store = ActivationStore.open(folder, batch_size=20)
    for _ in islice(store.batches(), 3):
        pass


def flip(path: Path, byte: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def test_a_whole_store_has_no_problems(store):
    assert verify_store(store) == []
    read_everything(store)


def test_any_flipped_bit_of_a_shard_is_noticed(store):
    path, chance = store / SECOND, random.Random(0)
    size = path.stat().st_size
    for byte in chance.sample(range(size), 100):
        bit = chance.randrange(8)
        flip(path, byte, bit)
        with pytest.raises(CorruptData, match=SECOND) as caught:
            read_everything(store)
        assert caught.value.exit_code == 3
        assert "the same harvest with repair=True" in str(caught.value)
        (problem,) = verify_store(store)
        assert SECOND in problem
        flip(path, byte, bit)
    assert verify_store(store) == []


def test_any_flipped_bit_of_a_header_is_a_typed_error(store):
    path, chance = store / FIRST, random.Random(1)
    length = int.from_bytes(path.read_bytes()[:HEADER], "little")
    for byte in [*range(HEADER), *chance.sample(range(HEADER, HEADER + length), 80)]:
        bit = chance.randrange(8)
        flip(path, byte, bit)
        assert len(verify_store(store)) == 1
        flip(path, byte, bit)


@pytest.mark.parametrize("name", ["store.json", "manifest.jsonl"])
def test_any_flipped_bit_of_the_small_files_is_noticed(store, name):
    path, chance = store / name, random.Random(2)
    for byte in [*chance.sample(range(path.stat().st_size), 120), path.stat().st_size - 1]:
        bit = chance.randrange(8)
        flip(path, byte, bit)
        with pytest.raises((CorruptData, StoreError)):
            ActivationStore.open(store)
        assert verify_store(store)
        flip(path, byte, bit)


def test_a_shard_cut_anywhere_is_noticed(store):
    path = store / FIRST
    data = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 60, *range(100, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(CorruptData, match=FIRST):
            read_everything(store)
        assert FIRST in verify_store(store)[0]
    path.write_bytes(data + b"\0")
    with pytest.raises(CorruptData):
        read_everything(store)


def test_swapped_shards_are_noticed_and_named(store):
    (store / FIRST).rename(store / "other")
    (store / SECOND).rename(store / FIRST)
    (store / "other").rename(store / SECOND)
    with pytest.raises(CorruptData):
        read_everything(store)
    problems = verify_store(store)
    assert [problem.rpartition("/")[2] for problem in problems] == [
        f"{FIRST} holds what was written as {SECOND}",
        f"{SECOND} holds what was written as {FIRST}",
    ]


def test_a_shard_copied_over_another_is_noticed(store):
    shutil.copy(store / FIRST, store / SECOND)
    with pytest.raises(CorruptData):
        read_everything(store)
    assert verify_store(store) == [f"{store / SECOND} holds what was written as {FIRST}"]


def test_a_missing_shard_is_noticed(store):
    (store / SECOND).unlink()
    with pytest.raises(CorruptData, match="is missing"):
        read_everything(store)
    assert verify_store(store) == [f"{store / SECOND} is missing"]


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {**tensors, "activations": tensors["activations"].float()},
        lambda tensors: {**tensors, "activations": tensors["activations"].T.contiguous()},
        lambda tensors: {**tensors, "more": torch.zeros(1)},
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "origin"},
    ],
)
def test_other_tensors_than_expected_are_refused_before_they_are_mapped(store, change, monkeypatch):
    monkeypatch.setattr("assay.activations.shard.safe_open", lambda *_, **__: pytest.fail("it was mapped"))
    monkeypatch.setattr("assay.disk.hash_file", lambda *_: pytest.fail("it was hashed"))
    for name in (FIRST, SECOND, "shard-00002.safetensors"):
        save_file(change(load_file(store / name)), store / name)
    with pytest.raises(CorruptData, match="other tensors"):
        read_everything(store)


def test_a_changed_sum_is_noticed_although_only_the_sum_is_read(store):
    tensors = load_file(store / FIRST)
    tensors["sum"][1] += 1e-9
    data = (store / FIRST).read_bytes()
    save_file(tensors, store / FIRST)
    assert len((store / FIRST).read_bytes()) == len(data)
    with pytest.raises(CorruptData, match="sum"):
        ActivationStore.open(store).mean()


def test_a_missing_line_is_noticed(store):
    manifest = store / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text(lines[0] + lines[2])
    with pytest.raises(StoreError, match="2 of 3 shards"):
        ActivationStore.open(store)
    (problem,) = verify_store(store)
    assert f"no line for {SECOND}" in problem


def test_a_doubled_line_is_noticed(store):
    manifest = store / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([*lines, lines[1]]))
    with pytest.raises(CorruptData, match="names shard 1 again"):
        ActivationStore.open(store)
    assert verify_store(store) == [f"line 4 of {manifest} names shard 1 again"]


@pytest.mark.parametrize("text", ["[]\n", "3\n", "null\n", "{}\n", '{"seal": []}\n', "[" * 10**5 + "\n", "\xff\n"])
def test_a_manifest_of_anything_else_is_noticed(store, text):
    (store / "manifest.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptData):
        ActivationStore.open(store)
    assert verify_store(store)


@pytest.mark.parametrize("text", ["[]", "null", "{}", "", '{"version": "1"}', '{"width": 1e999}', "\xff"])
def test_a_description_of_anything_else_is_noticed(store, text):
    (store / "store.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptData):
        ActivationStore.open(store)
    assert verify_store(store)


def test_a_line_cannot_name_a_file_elsewhere(store):
    manifest = store / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[0]["file"] = f"../{store.name}/{FIRST}"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(CorruptData):
        ActivationStore.open(store)


def test_the_store_json_of_another_harvest_is_noticed(store, tmp_path):
    model, source = nn.Sequential(nn.Linear(3, 2)), TensorSource(input=torch.randn(60, 3))
    harvest(model, source, ["0"], tmp_path / "other", tokens=60, rows_per_shard=20)
    shutil.copy(tmp_path / "other" / "0.out" / "store.json", store / "store.json")
    with pytest.raises(CorruptData, match="line 1"):
        ActivationStore.open(store)
    assert len(verify_store(store)) >= 3


def test_a_newer_format_is_refused_by_its_number(store):
    description = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**description, "version": 2, "more": 1}))
    with pytest.raises(StoreError, match="format 2"):
        ActivationStore.open(store)


def test_what_a_crash_left_or_somebody_put_there_is_named(store):
    (store / f"{FIRST}.part77").write_bytes(b"half")
    (store / "shard-00007.safetensors").write_bytes(b"?")
    assert [Path(problem.split()[0]).name for problem in verify_store(store)] == [
        f"{FIRST}.part77",
        "shard-00007.safetensors",
    ]


def test_verifying_nothing_is_a_problem(tmp_path):
    assert len(verify_store(tmp_path)) == 1


def test_every_error_is_a_typed_one(store):
    """Whatever the small files hold after three changes at random, nobody sees a traceback."""
    chance = random.Random(3)
    originals = {name: (store / name).read_bytes() for name in ("store.json", "manifest.jsonl")}
    for _ in range(80):
        for name, data in originals.items():
            damaged = bytearray(data)
            for _ in range(3):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            (store / name).write_bytes(damaged)
        try:
            ActivationStore.open(store)
        except AssayError:
            continue
        assert all((store / name).read_bytes() == data for name, data in originals.items())


# Forgeries: the seal fits what was changed, as whoever changes a file can make it.


def forged(store: Path, **changes) -> None:
    """store.json with changes, its seal made to fit; the lines of the manifest too where there can be any."""
    table = disk.read_sealed(store / "store.json") | changes
    try:
        description = Description.model_validate(table)
        lines = [json.loads(line) for line in (store / "manifest.jsonl").read_text().splitlines()]
        known = [Line.model_validate({name: value for name, value in line.items() if name != "seal"}) for line in lines]
        (store / "manifest.jsonl").write_bytes(b"".join(manifest._written(line, description) for line in known))
    except ValidationError:
        pass
    disk.write_sealed(store / "store.json", table)


def test_a_forgery_that_changes_nothing_is_read(store):
    forged(store)
    assert verify_store(store) == []
    read_everything(store)


@pytest.mark.parametrize("shards", [[], [0, 60], [-1, 61], [20, 20], [60, 60, 60]])
def test_shards_that_do_not_add_up_are_refused(store, shards):
    forged(store, shards=shards)
    with pytest.raises(CorruptData, match="does not describe a store"):
        ActivationStore.open(store)
    assert len(verify_store(store)) == 1


def test_a_description_wider_than_its_shards_takes_no_memory(store, monkeypatch):
    forged(store, width=2**40)
    opened = ActivationStore.open(store, batch_size=20)
    for use in (opened.mean, lambda: next(opened.batches()), lambda: opened.sample(1)):
        with pytest.raises(CorruptData, match="other tensors"):
            use()
    assert len(verify_store(store)) == 3


@pytest.mark.parametrize("identity", [{"a": 2**70}, {"a": "\ud800"}, {"a": float("nan")}])
def test_an_identity_that_would_not_be_read_back_is_not_written(identity):
    with pytest.raises(ConfigError):
        manifest.json_ready(identity)
