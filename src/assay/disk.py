"""Writing so that a crash leaves the old file or the new one, and reading so that nothing damaged or hostile is used.

A file is written beside its place, synced, and renamed into it; a folder is filled beside its place and renamed whole, its MANIFEST
(sizes and xxh3-128 hashes) written last; a record holds the digest of itself, its seal. Each function expects to be the only writer of its
place, see `lock`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import xxhash

from assay.errors import CorruptData, MissingMaterial, OutOfDisk, StoreError, shown
from assay.folders import is_file

MANIFEST = "MANIFEST.json"
BLOCK = 1 << 20
"""Bytes that are written or hashed at once, at least."""
JSON_LIMIT = 1 << 25
"""Largest JSON file that is read, in bytes: parsed, it may take 26 times as much memory."""


@runtime_checkable
class Blocks(Protocol):
    """Bytes that come a block at a time."""

    def __len__(self) -> int:
        """How many bytes there are in all."""
        ...

    def __iter__(self) -> Iterator[bytearray | memoryview]: ...


def write(path: Path, data: bytes | Blocks) -> None:
    """Put `data` at `path`: a reader sees all of it or none. Raises OutOfDisk."""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    with room_for(path, len(data)):
        try:
            with open(part, "wb") as file:
                for block in [data] if isinstance(data, bytes) else data:
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_json(path: Path, record: Any) -> None:
    """JSON with sorted keys and a closing newline, written like `write`."""
    write(path, _as_json(record, sort_keys=True))


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """A JSON table, in its order, that holds the digest of its own content; written like `write` unless just that is there."""
    data = _sealed(record)
    if not (path.is_file() and path.read_bytes() == data):
        write(path, data)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one JSON line and sync it, in place of a torn last line if a crash or a full disk left one."""
    line = (json.dumps(record, sort_keys=True, allow_nan=False) + "\n").encode()
    new = not path.exists()
    with room_for(path, len(line)):
        with open(path, "ab") as file:
            file.truncate(_end_of_lines(path))
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """A JSON file. Raises MissingMaterial or CorruptData."""
    try:
        data = read(path, JSON_LIMIT + 1)
        if len(data) > JSON_LIMIT:
            raise ValueError(f"it is longer than {JSON_LIMIT:,} bytes")
        return parse_json(data)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{path} is not JSON ({error})", expected="what assay wrote", do="Make it again.") from None


def read_sealed(path: Path) -> dict[str, Any]:
    """A table that `write_sealed` wrote, to the byte. Raises MissingMaterial, CorruptData."""
    record = read_json(path)
    if isinstance(record, dict):
        record.pop("seal", None)
        try:
            if _sealed(record) == read(path):
                return record
        except ValueError:  # NaN, which JSON has not
            pass
    raise CorruptData(
        f"{path} is not as it was written (its seal differs)",
        expected="what assay wrote",
        do="Run `assay verify --repair` on the folder of the run, or make the file again.",
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a log; a last line without its newline was torn by a crash and is left out."""
    if not path.exists():
        return []
    lines = read(path).split(b"\n")[:-1]
    try:
        records = [parse_json(line) for line in lines]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is not a table")
        return records
    except (ValueError, RecursionError) as error:
        raise CorruptData(
            f"{path} holds a line that is not JSON ({error})",
            expected="one record a line",
            do="Run `assay verify` on the folder; delete the file to start it anew.",
        ) from None


def read(path: Path, size: int = -1) -> bytes:
    """The bytes of a file, or the first `size` of them. Raises MissingMaterial."""
    with _open(path) as file:
        return file.read(size)


def parse_json(data: bytes) -> Any:
    """JSON whose keys are distinct and whose numbers are finite. Raises ValueError, RecursionError."""
    return json.loads(data, object_pairs_hook=_distinct, parse_float=_finite, parse_constant=_finite)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key is there twice")
    return table


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{shown(number)} is no finite number")
    return value


def _open(path: Path) -> BinaryIO:
    """A regular file, open for reading. Raises MissingMaterial."""
    with suppress(FileNotFoundError, NotADirectoryError):  # it may go at any moment
        if is_file(path):
            return open(path, "rb")
    raise MissingMaterial(f"there is no file {path}", expected="a file that assay wrote", do="Check the path.")


def _as_json(record: Any, *, sort_keys: bool = False) -> bytes:
    return (json.dumps(record, indent=2, sort_keys=sort_keys, allow_nan=False) + "\n").encode()


def _sealed(record: Mapping[str, Any]) -> bytes:
    """A table with its seal, as it is written."""
    return _as_json({**record, "seal": xxhash.xxh3_128_hexdigest(_as_json(record))})


def _end_of_lines(path: Path) -> int:
    """Bytes up to the last newline: what follows was torn by a crash."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(end - 4096, 0)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                return start + found + 1
            end = start
    return 0


def hash_file(path: Path) -> str:
    """xxh3-128 of a file, as hex."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def publish(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside its place, write its MANIFEST last, and rename it into place whole, replacing one that differs.

    What an earlier call left when it was killed is removed. Raises OutOfDisk, and StoreError when something that was not published
    stands at its place.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StoreError(
            f"{folder} holds something that assay did not write", expected="a free place", do="Choose another folder."
        )
    remove_leftovers(folder.parent, folder.name)
    part, old = (folder.with_name(f"{folder.name}.{what}{os.getpid()}") for what in ("part", "old"))
    with room_for(part, 0):
        part.mkdir()
    try:
        fill(part)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        entries = {
            str(path.relative_to(part)): {"bytes": path.stat().st_size, "xxh3_128": hash_file(path)} for path in files
        }
        write_json(part / MANIFEST, entries)
        if folder.exists():
            if read(part / MANIFEST) == read(folder / MANIFEST) and not check_manifest(folder):
                return
            os.replace(folder, old)
        os.replace(part, folder)
        sync_folder(folder.parent)
    finally:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what a killed writer left in a folder: files and folders half written beside their place, or moved out of it."""
    for what in ("part", "old"):
        for path in folder.glob(f"{name}.{what}*"):
            if re.fullmatch(rf".+\.{what}\d+", path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_manifest(folder: Path) -> list[str]:
    """What is wrong with a published folder, one sentence a file; an empty list when all is as written."""
    try:
        entries = read_json(folder / MANIFEST)
        listed = {str(name): (entry["bytes"], entry["xxh3_128"]) for name, entry in entries.items()}
    except (MissingMaterial, CorruptData) as error:
        return [str(error)]
    except (AttributeError, KeyError, TypeError):
        return [f"{folder / MANIFEST} is not a list of files"]
    problems = []
    for name, (size, digest) in listed.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            problems.append(f"{folder / MANIFEST} names a file outside its folder: {shown(name)}")
        elif not is_file(path):
            problems.append(f"{path} is missing")
        elif path.stat().st_size != size:
            problems.append(f"{path} is {path.stat().st_size} bytes long, expected {size}")
        elif hash_file(path) != digest:
            problems.append(f"{path} is not the file that was written (its hash differs)")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    problems += [f"{folder / name} does not belong there" for name in sorted(there - {*listed, MANIFEST})]
    if not problems and read(folder / MANIFEST) != _as_json(entries, sort_keys=True):
        problems.append(f"{folder / MANIFEST} is not as it was written, though it says the same")
    return problems


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they survive a power loss."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def room_for(path: Path, size: int):
    """Turn "no space left" (and a quota that is used up) into OutOfDisk, which says how many bytes were wanted."""
    try:
        make_folder(path.parent)
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfDisk(
            f"the disk under {path.parent} is full",
            expected=f"room for {size:,} more bytes",
            do="Free some space and run the same command again; it goes on where it stopped.",
        ) from error
