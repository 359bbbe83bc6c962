"""One writer a folder: refused with a name while somebody holds it, free again however the holder ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay import lock
from assay.errors import StoreError
from assay.lock import LOCK, writing

HOLDER = """
import sys, time
from assay.lock import writing
with writing(__import__("pathlib").Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def left_by(folder: Path, *, host: str, seconds_ago: float) -> Path:
    """A lock file that nobody's lock is on."""
    path = folder / LOCK
    path.write_text(json.dumps({"pid": 4711, "host": host, "since": "2026-01-01T00:00:00+00:00"}))
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with writing(tmp_path / "new" / "run"):
        held = json.loads((tmp_path / "new" / "run" / LOCK).read_text())
        assert held["pid"] == os.getpid()
        assert held["host"] == socket.gethostname()
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        raise ZeroDivisionError
    with writing(tmp_path):
        pass


def test_a_second_writer_in_one_process_is_told_so(tmp_path: Path) -> None:
    with writing(tmp_path):
        with pytest.raises(StoreError, match=r"written by this very process.*generator"), writing(tmp_path):
            pytest.fail("two writers")
        assert (tmp_path / LOCK).exists(), "the refused one took the lock file away"


def test_another_process_is_named_and_its_death_frees_the_folder(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(StoreError, match=rf"process {holder.pid} on .* expected one writer at a time"),
        writing(tmp_path),
    ):
        pytest.fail("two writers")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert (tmp_path / LOCK).exists()
    with writing(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_lock_of_a_crash_on_this_machine_counts_for_nothing(tmp_path: Path) -> None:
    left_by(tmp_path, host=socket.gethostname(), seconds_ago=1)
    with writing(tmp_path):
        pass


def test_a_fresh_sign_of_life_from_another_machine_counts(tmp_path: Path) -> None:
    left_by(tmp_path, host="elsewhere", seconds_ago=5)
    with pytest.raises(StoreError, match="process 4711 on elsewhere"), writing(tmp_path):
        pytest.fail("two writers")


def test_two_minutes_of_silence_from_another_machine_free_the_folder(tmp_path: Path) -> None:
    left_by(tmp_path, host="elsewhere", seconds_ago=lock.DEAD_AFTER + 5)
    with writing(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_the_holder_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "ALIVE_EVERY", 0.01)
    with writing(tmp_path):
        os.utime(tmp_path / LOCK, (1.0, 1.0))
        end = time.monotonic() + 10
        while (tmp_path / LOCK).stat().st_mtime < 1000:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize("torn", ["", "{", "[1]", "null", "[" * 5000])
def test_a_torn_lock_file_stops_nobody(tmp_path: Path, torn: str) -> None:
    (tmp_path / LOCK).write_text(torn)
    with writing(tmp_path):
        pass
