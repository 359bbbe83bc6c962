"""Folders of the cache appear whole or not at all, once, whoever asks at the same time."""

from __future__ import annotations

import errno
import threading

import platformdirs
import pytest

from assay.errors import ConfigError, CorruptData, OutOfDisk
from assay.materials import cache as caches
from assay.materials import cache_folder


def fill(folder):
    (folder / "a").write_bytes(b"a" * 10)


def test_the_cache_is_where_the_environment_says(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("ASSAY_CACHE")
    assert str(cache_folder()) == platformdirs.user_cache_dir("assay")


def test_a_folder_is_made_once_and_then_kept(shelf):
    made = []
    for _ in range(2):
        folder = caches.kept(shelf.material, "x", lambda empty: (made.append(1), fill(empty))[1], needs=1)
    assert made == [1]
    assert (folder / "a").read_bytes() == b"a" * 10


def test_a_failure_leaves_nothing_that_could_be_taken_for_the_folder(shelf):
    def fail(folder):
        fill(folder)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        caches.kept(shelf.material, "x", fail, needs=1)
    folder = caches.folder_of(shelf.material, "x")
    assert [path.name for path in folder.parent.iterdir()] == ["x.lock"]


def test_what_a_killed_process_left_is_swept_away(shelf):
    folder = caches.folder_of(shelf.material, "x")
    orphan = folder.with_name("x.part999999")
    orphan.mkdir(parents=True)
    (orphan / "a").write_bytes(b"half")
    caches.kept(shelf.material, "x", fill, needs=1)
    assert not orphan.exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_folder_is_named_and_never_used(shelf, damage):
    folder = caches.kept(shelf.material, "x", fill, needs=1)
    match damage:
        case "flip":
            (folder / "a").write_bytes(b"b" + b"a" * 9)
        case "truncate":
            (folder / "a").write_bytes(b"a" * 9)
        case "remove":
            (folder / "a").unlink()
        case "manifest":
            (folder / "MANIFEST.json").unlink()
    with pytest.raises(CorruptData, match="--refetch tiny") as caught:
        caches.kept(shelf.material, "x", fill, needs=1)
    assert str(folder / ("MANIFEST.json" if damage == "manifest" else "a")) in caught.value.got


def test_many_callers_at_once_make_the_folder_once(shelf):
    made, together, got = [], threading.Barrier(6), []

    def slow(folder):
        made.append(threading.get_ident())
        threading.Event().wait(0.1)
        fill(folder)

    def ask():
        together.wait()
        got.append(caches.kept(shelf.material, "x", slow, needs=1))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(got) == 6
    assert set(got) == {caches.folder_of(shelf.material, "x")}


def test_a_full_disk_says_how_many_bytes_were_wanted(shelf):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutOfDisk, match="room for 1,234 more bytes"):
        caches.kept(shelf.material, "x", full, needs=1234)


def test_a_cache_that_cannot_be_written_says_what_to_set(shelf, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="Set ASSAY_CACHE"):
        caches.kept(shelf.material, "x", fill, needs=1)


def test_a_discarded_part_is_made_anew(shelf):
    folder = caches.kept(shelf.material, "x", fill, needs=1)
    caches.discard(shelf.material, "x")
    assert not folder.exists()
    caches.discard(shelf.material, "x")
    assert caches.kept(shelf.material, "x", fill, needs=1) == folder
