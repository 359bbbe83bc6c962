"""Files, logs and folders that survive a crash, a full disk and damage."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from assay import disk, tensor_file
from assay.errors import AssayError, CorruptData, MissingMaterial, OutOfDisk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Whole files.


def test_a_file_is_written_whole_and_alone(tmp_path):
    disk.write(tmp_path / "deep" / "file", b"old")
    disk.write(tmp_path / "deep" / "file", b"new")
    assert disk.read(tmp_path / "deep" / "file") == b"new"
    assert names(tmp_path / "deep") == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file_and_says_how_much_was_wanted(tmp_path, monkeypatch, call, number):
    disk.write(tmp_path / "file", b"old")

    def full(*_: Any) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutOfDisk, match="room for 12,345 more bytes") as caught:
        disk.write(tmp_path / "file", b"x" * 12_345)
    monkeypatch.undo()
    assert caught.value.exit_code == 5
    assert disk.read(tmp_path / "file") == b"old"
    assert names(tmp_path) == ["file"]


def test_other_failures_are_not_a_full_disk(tmp_path, monkeypatch):
    def denied(*_: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", denied)
    with pytest.raises(OSError, match="broken"):
        disk.write(tmp_path / "file", b"x")
    assert names(tmp_path) == []


def test_json_is_sorted_and_ends_in_a_newline(tmp_path):
    disk.write_json(tmp_path / "r.json", {"b": 1, "a": [None, "é"]})
    text = (tmp_path / "r.json").read_text()
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")
    assert disk.read_json(tmp_path / "r.json") == {"b": 1, "a": [None, "é"]}


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        disk.write_json(tmp_path / "r.json", {"loss": float("nan")})
    assert names(tmp_path) == []


HOSTILE_JSON = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"nul",
    b"[" * 100_000,
    b"NaN",
    b"[-Infinity]",
    b'{"a": 1e999}',
    b'{"a": {"b": 1, "b": 1}}',
]


@pytest.mark.parametrize("content", HOSTILE_JSON)
def test_damaged_json_is_corrupt_data(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(CorruptData) as caught:
        disk.read_json(tmp_path / "r.json")
    assert caught.value.exit_code == 3


def test_an_endless_number_is_corrupt_data(tmp_path):
    (tmp_path / "r.json").write_bytes(b"1" * 5000)
    with pytest.raises(CorruptData):
        disk.read_json(tmp_path / "r.json")


def test_a_json_file_beyond_the_limit_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "JSON_LIMIT", 10)
    (tmp_path / "r.json").write_bytes(b"[1, 2, 3]")
    assert disk.read_json(tmp_path / "r.json") == [1, 2, 3]
    (tmp_path / "r.json").write_bytes(b"[1, 2, 3, 4]")
    with pytest.raises(CorruptData, match="longer than 10 bytes"):
        disk.read_json(tmp_path / "r.json")


def test_a_file_that_goes_while_it_is_opened_is_missing_material(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "is_file", lambda path: True)
    for read in (disk.read, disk.read_json, tensor_file.header_of):
        with pytest.raises(MissingMaterial):
            read(tmp_path / "gone")


def test_what_is_missing_is_missing_material(tmp_path):
    for read in (disk.read, disk.read_json, tensor_file.read, tensor_file.header_of):
        with pytest.raises(MissingMaterial, match="there is no file"):
            read(tmp_path / "nowhere")
    with pytest.raises(MissingMaterial):
        disk.read(tmp_path)


def test_a_folder_is_not_a_tensor_file(tmp_path):
    with pytest.raises(MissingMaterial):
        tensor_file.header_of(tmp_path)


# Logs.


def test_lines_come_back_in_order(tmp_path):
    for step in range(3):
        disk.append_line(tmp_path / "log.jsonl", {"step": step})
    assert disk.read_lines(tmp_path / "log.jsonl") == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert disk.read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("kept", range(12))
def test_a_torn_last_line_is_left_out(tmp_path, kept):
    log = tmp_path / "log.jsonl"
    disk.append_line(log, {"step": 0})
    disk.append_line(log, {"step": 1})
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2 + kept])
    assert disk.read_lines(log) == ([{"step": 0}, {"step": 1}] if log.read_bytes() == whole else [{"step": 0}])


def test_a_log_goes_on_after_a_torn_line(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 0}\n{"st')
    disk.append_line(log, {"step": 1})
    assert disk.read_lines(log) == [{"step": 0}, {"step": 1}]


def test_a_log_goes_on_after_a_full_disk(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    disk.append_line(log, {"step": 0})
    real = open

    def half_open(path: Any, mode: str = "r", **settings: Any) -> Any:
        file = real(path, mode, **settings)
        if mode != "ab":
            return file
        file.write(b'{"st')
        file.close()
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("builtins.open", half_open)
    with pytest.raises(OutOfDisk):
        disk.append_line(log, {"step": 1})
    monkeypatch.undo()
    disk.append_line(log, {"step": 1})
    assert disk.read_lines(log) == [{"step": 0}, {"step": 1}]


def test_a_full_disk_while_appending_is_out_of_disk(tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfDisk) as caught:
        disk.append_line(tmp_path / "log.jsonl", {"step": 0})
    assert caught.value.exit_code == 5


def test_a_damaged_line_in_the_middle_is_corrupt_data(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(CorruptData, match="holds a line that is not JSON"):
        disk.read_lines(tmp_path / "log.jsonl")


def test_a_line_that_is_not_a_record_is_corrupt_data(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b"3\n")
    with pytest.raises(CorruptData):
        disk.read_lines(tmp_path / "log.jsonl")


# Folders.


def fill(folder: Path) -> None:
    disk.write(folder / "one", b"1")
    disk.write(folder / "sub" / "two", b"22")


def test_a_folder_appears_whole_with_its_manifest(tmp_path):
    def look(part: Path) -> None:
        assert not (tmp_path / "out").exists()
        fill(part)

    disk.publish(tmp_path / "out", look)
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["MANIFEST.json", "one", "sub"]
    listed = disk.read_json(tmp_path / "out" / "MANIFEST.json")
    assert {name: entry["bytes"] for name, entry in listed.items()} == {"one": 1, "sub/two": 2}
    assert disk.check_manifest(tmp_path / "out") == []


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b" ", lambda data: data.replace(b": ", b":", 1)]
)
def test_a_manifest_that_says_the_same_in_other_bytes_is_reported(tmp_path, change):
    disk.publish(tmp_path / "out", fill)
    path = tmp_path / "out" / disk.MANIFEST
    path.write_bytes(change(path.read_bytes()))
    assert disk.check_manifest(tmp_path / "out") == [f"{path} is not as it was written, though it says the same"]


def test_publishing_again_replaces_all_of_it(tmp_path):
    disk.publish(tmp_path / "out", fill)
    disk.publish(tmp_path / "out", lambda part: disk.write(part / "three", b"3"))
    assert names(tmp_path / "out") == ["MANIFEST.json", "three"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_folder_that_could_not_be_filled_leaves_the_old_one(tmp_path, error):
    disk.publish(tmp_path / "out", fill)

    def fail(part: Path) -> None:
        disk.write(part / "half", b"x")
        raise error

    with pytest.raises(type(error)):
        disk.publish(tmp_path / "out", fail)
    assert names(tmp_path) == ["out"]
    assert disk.check_manifest(tmp_path / "out") == []


def test_a_full_disk_leaves_the_old_folder(tmp_path, monkeypatch):
    disk.publish(tmp_path / "out", fill)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfDisk):
        disk.publish(tmp_path / "out", fill)
    monkeypatch.undo()
    assert names(tmp_path) == ["out"]
    assert disk.check_manifest(tmp_path / "out") == []


def test_a_folder_that_assay_did_not_write_is_not_removed(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(AssayError):
        disk.publish(tmp_path / "thesis", fill)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


def test_a_crash_while_replacing_leaves_one_of_the_two(tmp_path, monkeypatch):
    disk.publish(tmp_path / "out", fill)

    def crash(old: Any, new: Any) -> None:
        if ".part" in Path(old).name and Path(new) == tmp_path / "out":
            raise KeyboardInterrupt
        os.rename(old, new)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        disk.publish(tmp_path / "out", lambda part: disk.write(part / "three", b"3"))
    monkeypatch.undo()
    assert disk.check_manifest(tmp_path / "out") == []


def test_publishing_the_same_again_touches_nothing(tmp_path):
    disk.publish(tmp_path / "out", fill)
    before = (tmp_path / "out").stat().st_ino
    disk.publish(tmp_path / "out", fill)
    assert (tmp_path / "out").stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    for name in ("out.part17", "out.old4"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one").write_bytes(b"1")
    (tmp_path / "out.particular").mkdir()
    disk.publish(tmp_path / "out", fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.particular"]


def test_no_room_for_the_folder_itself_is_out_of_disk(tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OutOfDisk):
        disk.publish(tmp_path / "out", fill)


DAMAGE = {
    "is missing": lambda folder: (folder / "one").unlink(),
    "bytes long": lambda folder: (folder / "one").write_bytes(b"11"),
    "hash differs": lambda folder: (folder / "sub" / "two").write_bytes(b"2!"),
    "there is no file": lambda folder: (folder / "MANIFEST.json").unlink(),
    "is not JSON": lambda folder: (folder / "MANIFEST.json").write_bytes(b"{"),
    "is not a list of files": lambda folder: (folder / "MANIFEST.json").write_bytes(b'{"one": 3}'),
    "outside its folder": lambda folder: (folder / "MANIFEST.json").write_bytes(
        b'{"../secret": {"bytes": 1, "xxh3_128": "0"}, "one": {"bytes": 1, "xxh3_128": "0"}}'
    ),
}


@pytest.mark.parametrize("sign", DAMAGE)
def test_damage_is_told_in_a_sentence(tmp_path, sign):
    disk.publish(tmp_path / "out", fill)
    DAMAGE[sign](tmp_path / "out")
    problems = disk.check_manifest(tmp_path / "out")
    assert problems
    assert sign in problems[0]


@pytest.mark.parametrize(
    "content",
    [
        *(b"[]", b"3", b"null", b'{"one": {"bytes": 1}}', b'{"/etc/passwd": {"bytes": 1, "xxh3_128": ""}}'),
        b'{"a\\u0000b": {"bytes": 1, "xxh3_128": ""}}',
        b'{"' + b"a" * 300 + b'": {"bytes": 1, "xxh3_128": ""}}',
    ],
)
def test_a_hostile_manifest_is_a_problem(tmp_path, content):
    disk.publish(tmp_path / "out", fill)
    (tmp_path / "out" / "MANIFEST.json").write_bytes(content)
    assert str(tmp_path / "out") in disk.check_manifest(tmp_path / "out")[0]


def test_a_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "one").write_bytes(b"x" * (1 << 21))
    (tmp_path / "two").write_bytes(b"x" * (1 << 21))
    (tmp_path / "three").write_bytes(b"x" * ((1 << 21) - 1))
    assert disk.hash_file(tmp_path / "one") == disk.hash_file(tmp_path / "two") != disk.hash_file(tmp_path / "three")
    assert len(disk.hash_file(tmp_path / "one")) == 32
