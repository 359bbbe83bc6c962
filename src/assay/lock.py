"""One writer a folder: a lock that says who holds it, and that no crash leaves behind.

The system lets go of a lock when its process dies, however it dies. Between machines that share a folder but not its locks, the holder's
sign of life decides: it touches the lock file every 20 seconds, and a lock that was not touched for two minutes is nobody's.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from assay import disk
from assay.errors import StoreError

LOCK = ".lock"
ALIVE_EVERY, DEAD_AFTER = 20.0, 120.0
"""Seconds between signs of life, and without one until a lock of another machine counts as left behind."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only writer of `folder`, which is made if need be. Raises StoreError, naming the process that is; OutOfDisk."""
    path, new = folder / LOCK, [place for place in (folder, *folder.parents) if not place.exists()]
    with disk.room_for(path, 256):
        descriptor = _take(path)
    over = threading.Event()
    try:
        with disk.room_for(path, 256):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_myself()).encode())
        threading.Thread(target=_show_life, args=(descriptor, over), daemon=True).start()
        yield
    finally:
        over.set()
        path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # nothing was written: nothing is left
            for place in new:
                place.rmdir()


class _Gone(Exception):
    """The file that was locked is no longer the one at its path: whoever held it has let go and removed it."""


def _take(path: Path) -> int:
    """A descriptor of the lock file at `path`, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _locked(descriptor):
                raise _held(path, _holder(descriptor))
            if not _is_at(path, descriptor):
                raise _Gone
            holder, silent = _holder(descriptor), time.time() - os.fstat(descriptor).st_mtime
            if holder and holder.get("host") != socket.gethostname() and silent < DEAD_AFTER:
                raise _held(path, holder)
            return descriptor
        except _Gone:
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (
            errno.ENOLCK,
            errno.EOPNOTSUPP,
            errno.ENOSYS,
        ):  # a file system without locks: signs of life decide
            return True
        raise


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> dict[str, Any]:
    """What the last holder wrote; empty when it let go in order, or was killed before it wrote."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return found if isinstance(found, dict) else {}
    except (ValueError, RecursionError):
        return {}


def _held(path: Path, holder: dict[str, Any]) -> StoreError:
    if holder.get("pid") == os.getpid() and holder.get("host") == socket.gethostname():
        who, do = "this very process", "Close the `train` generator that was left unfinished, or let go of it."
    else:
        who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} since {holder.get('since', '?')}"
        do = f"Wait for it, or stop it: kill {holder.get('pid', 'PID')}. Its work is not lost."
    return StoreError(f"{path.parent} is being written by {who}", expected="one writer at a time", do=do)


def _myself() -> dict[str, Any]:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot(), "since": since}


@cache
def _boot() -> str | None:
    """The identity of this boot of the machine, where the system has one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _show_life(descriptor: int, over: threading.Event) -> None:
    while not over.wait(ALIVE_EVERY):
        try:
            os.utime(descriptor)
        except OSError:
            return
