"""Every write, sync, rename and removal below a folder, counted, and struck at one of them.

Installed in a process that is about to run a verb, `Faults` replaces the functions of the standard library through which Python changes a
disk. Reaching the chosen operation, the process dies (or loses power, see `power`), or the operation fails as on a full or broken disk.
A write is struck twice: before it begins, and half done.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tests.crash.power import Durable

How = Literal["kill", "drop", "zero", "full", "broken"]
"""Die; lose power and with it all that was not synced, names included; lose power, keep names, lose unsynced bytes; no space from there
on; one input/output error."""
TAKES_SPACE = {"open", "write", "half", "mkdir"}


class Faults:
    """Counts operations below `root`, and strikes at number `at` (from 1; 0 never)."""

    def __init__(self, root: Path, at: int = 0, how: How = "kill") -> None:
        self.root, self.at, self.how = os.path.realpath(root), at, how
        self.operations: list[tuple[str, str]] = []
        self.full = self.struck = False
        self.durable = Durable(self.root) if how in ("drop", "zero") else None

    def install(self) -> None:
        """Replace the functions, for the rest of this process's life."""
        opened, low_open = io.open, os.open
        builtins.open = io.open = self._opening(opened)
        for name in ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "truncate"):
            setattr(os, name, self._changing(name, getattr(os, name)))
        os.fsync = self._syncing(os.fsync)
        os.open = self._low_opening(low_open)
        os.write = self._low_writing(os.write)

    def reach(self, what: str, path: str) -> None:
        """An operation is about to happen."""
        self.operations.append((what, os.path.relpath(path, self.root)))
        if self.full and what in TAKES_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if len(self.operations) == self.at:
            self._strike(what, path)

    def _strike(self, what: str, path: str) -> None:
        if self.how == "full":
            self.full = True
            if what in TAKES_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        elif self.how == "broken":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        else:
            self.struck = True
            if self.durable:
                self.durable.lose(names=self.how == "drop")
            os.kill(os.getpid(), signal.SIGKILL)

    def _ours(self, path: Any, folder: int | None = None) -> str | None:
        """The whole path of something below the root, else None."""
        if self.struck:
            return None
        if isinstance(path, int):
            whole = os.readlink(f"/proc/self/fd/{path}")
        elif folder is not None:
            whole = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fspath(path))
        else:
            whole = os.path.join(
                os.path.realpath(os.path.dirname(os.fspath(path)) or "."), os.path.basename(os.fspath(path))
            )
        return whole if whole == self.root or whole.startswith(self.root + os.sep) else None

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            path = self._ours(file) if set(mode) & set("wax+") and not isinstance(file, int) else None
            if path is None:
                return real(file, mode, *rest, **named)
            new = not os.path.lexists(path)
            if new or "w" in mode:
                self.reach("open", path)
            handle = real(file, mode, *rest, **named)
            if new and self.durable:
                self.durable.created(path)
            return _File(handle, path, self)

        return opened

    def _changing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def changed(path: Any, *rest: Any, **named: Any) -> Any:
            whole = self._ours(path, named.get("dir_fd"))
            if whole is None:
                return real(path, *rest, **named)
            self.reach(name, whole)
            result = real(path, *rest, **named)
            if self.durable:
                target = self._ours(rest[0]) if name in ("replace", "rename") else None
                self.durable.changed(name, whole, target)
            return result

        return changed

    def _syncing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            path = self._ours(descriptor)
            if path is None:
                return real(descriptor)
            self.reach("fsync", path)
            real(descriptor)
            if self.durable:
                self.durable.synced(path)

        return synced

    def _low_opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            whole = self._ours(path, named.get("dir_fd")) if flags & os.O_CREAT else None
            new = whole is not None and not os.path.lexists(whole)
            if whole is not None and new:
                self.reach("open", whole)
            descriptor = real(path, flags, *rest, **named)
            if whole is not None and new and self.durable:
                self.durable.created(whole)
            return descriptor

        return opened

    def _low_writing(self, real: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
        def written(descriptor: int, data: bytes) -> int:
            path = self._ours(descriptor) if descriptor > 2 else None
            if path is not None:
                self.reach("write", path)
            return real(descriptor, data)

        return written


class _File:
    """A file that is being written; what is written reaches the system at once."""

    def __init__(self, handle: Any, path: str, faults: Faults) -> None:
        self.handle, self.path, self.faults = handle, path, faults

    def write(self, data: Any) -> int:
        self.faults.reach("write", self.path)
        half = len(data) // 2
        self.handle.write(data[:half])
        self.handle.flush()
        self.faults.reach("half", self.path)
        self.handle.write(data[half:])
        self.handle.flush()
        return len(data)

    def truncate(self, size: int) -> int:
        self.faults.reach("truncate", self.path)
        return self.handle.truncate(size)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)
