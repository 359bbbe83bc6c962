"""What a disk keeps when the power fails: synced bytes, under names that were in their folder when that was synced.

POSIX promises no more. Here nothing else survives ("drop"), or every name survives but unsynced bytes are zeros, as a journal of names
alone leaves them ("zero").
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field


@dataclass(eq=False)
class File:
    """A file; `kept` is what was last synced."""

    kept: bytes | None = None


@dataclass(eq=False)
class Folder:
    """A folder: the names in it now, and those it had when it was last synced."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    kept: dict[str, File | Folder] = field(default_factory=dict)


class Durable:
    """The tree below `root`, all of it synced at first."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.tree = self._read(root)

    def created(self, path: str) -> None:
        """A new file."""
        self._folder_of(path).names[os.path.basename(path)] = File()

    def changed(self, what: str, path: str, target: str | None) -> None:
        """A name was made, moved or removed."""
        folder, name = self._folder_of(path), os.path.basename(path)
        if what == "mkdir":
            folder.names[name] = Folder()
        elif what in ("replace", "rename"):
            moved = folder.names.pop(name)
            if target is not None:
                self._folder_of(target).names[os.path.basename(target)] = moved
        elif what in ("unlink", "remove", "rmdir"):
            folder.names.pop(name, None)

    def synced(self, path: str) -> None:
        """fsync of a file or a folder."""
        node = self._find(path)
        if isinstance(node, Folder):
            node.kept = dict(node.names)
        else:
            with open(path, "rb") as file:
                node.kept = file.read()

    def lose(self, *, names: bool) -> None:
        """Leave on the disk what is durable: with `names` only synced names, else all names."""
        for entry in os.scandir(self.root):
            if names:
                shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
        self._write(self.tree, self.root, names=names)

    def _write(self, node: File | Folder, path: str, *, names: bool) -> None:
        if isinstance(node, Folder):
            if names and path != self.root:
                os.mkdir(path)
            for name, child in (node.kept if names else node.names).items():
                self._write(child, os.path.join(path, name), names=names)
            return
        kept = node.kept
        if not names and os.path.exists(path):
            with open(path, "rb") as file:
                now = file.read()
            known = len(node.kept) if node.kept and now.startswith(node.kept) else 0
            kept = now[:known] + bytes(len(now) - known)
        with open(path, "wb") as file:
            file.write(kept or b"")

    def _read(self, path: str) -> Folder:
        names: dict[str, File | Folder] = {}
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                names[entry.name] = self._read(entry.path)
            else:
                with open(entry.path, "rb") as file:
                    names[entry.name] = File(file.read())
        return Folder(names, dict(names))

    def _find(self, path: str) -> File | Folder:
        node: File | Folder = self.tree
        for part in os.path.relpath(path, self.root).split(os.sep):
            if part != ".":
                assert isinstance(node, Folder)
                node = node.names[part]
        return node

    def _folder_of(self, path: str) -> Folder:
        node = self._find(os.path.dirname(path))
        assert isinstance(node, Folder)
        return node
