"""Writing so that a crash leaves the old file or the new one, and reading so that nothing damaged or hostile is used.

A file is written beside its place, synced, and renamed into it; a folder is filled beside its place and renamed whole, its MANIFEST
(sizes and xxh3-128 hashes) written last. Tensors are safetensors only; nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from torch import Tensor

from assay.errors import CorruptData, MissingMaterial, OutOfDisk, StoreError, ran_out_of_memory

MANIFEST = "MANIFEST.json"
HEADER_LIMIT = 1 << 20
"""Largest safetensors header that is read, in bytes."""
BLOCK = 1 << 20
"""Bytes that are written or hashed at once, at least."""
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
"""What a safetensors file calls the dtypes that are written; tensors of the later ones come first in it."""


def write(path: Path, data: bytes | TensorBytes) -> None:
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
    write(path, (json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """A safetensors file, written like `write`; returns its size and xxh3-128."""
    data = TensorBytes(tensors)
    write(path, data)
    return len(data), data.digest.hexdigest()


class TensorBytes:
    """The bytes of a safetensors file, the same that safetensors would write, a block at a time and never in memory as a whole."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        ranks = {dtype: rank for rank, dtype in enumerate(DTYPES)}
        names = sorted(sorted(tensors), key=lambda name: -ranks[tensors[name].dtype])
        entries, self.size = {}, 0
        for name in names:
            begin, self.size = self.size, self.size + tensors[name].nbytes
            kind, shape = DTYPES[tensors[name].dtype], list(tensors[name].shape)
            entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, self.size]}
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.header = struct.pack("<Q", len(text)) + text
        self.tensors = [tensors[name] for name in names]
        self.digest = xxhash.xxh3_128()
        """Of the blocks that were taken."""

    def __len__(self) -> int:
        return len(self.header) + self.size

    def __iter__(self) -> Iterator[bytearray | memoryview]:
        """Blocks: large tensors as they lie in memory, small neighbours put together, so that each is worth a call of the system."""
        block = bytearray(self.header)
        for part in map(_bytes_of, self.tensors):
            if block and len(block) + len(part) > BLOCK:
                yield self._digested(block)
                block = bytearray()
            if len(part) > BLOCK:
                yield self._digested(part)
            else:
                block += part
        if block:
            yield self._digested(block)

    def _digested(self, block: bytearray | memoryview) -> bytearray | memoryview:
        self.digest.update(block)
        return block


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one JSON line and sync it, in place of a torn last line if a crash or a full disk left one."""
    line = (json.dumps(record, sort_keys=True, allow_nan=False) + "\n").encode()
    whole = read(path).rfind(b"\n") + 1 if path.exists() else 0
    with room_for(path, len(line)), open(path, "ab") as file:
        file.truncate(whole)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_json(path: Path) -> Any:
    """A JSON file. Raises MissingMaterial or CorruptData."""
    try:
        return json.loads(read(path))
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{path} is not JSON ({error})", expected="what assay wrote", do="Make it again.") from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a log; a last line without its newline was torn by a crash and is left out."""
    if not path.exists():
        return []
    lines = read(path).split(b"\n")[:-1]
    try:
        records = [json.loads(line) for line in lines]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is not a table")
        return records
    except (ValueError, RecursionError) as error:
        raise CorruptData(
            f"{path} holds a line that is not JSON ({error})",
            expected="one record a line",
            do="Run `assay verify` on the folder; delete the file to start it anew.",
        ) from None


def read(path: Path) -> bytes:
    """The bytes of a file. Raises MissingMaterial."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise MissingMaterial(
            f"there is no file {path}", expected="a file that assay wrote", do="Check the path."
        ) from None


def read_tensors(path: Path, expected: Mapping[str, tuple[str, tuple[int, ...]]] | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, mapped: a page takes memory when it is read.

    With `expected` {name: (dtype, shape)} anything else is refused before that. Raises MissingMaterial, CorruptData.
    """
    header = tensor_header(path)
    if expected is not None:
        found = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
        if found != dict(expected):
            wrong = sorted(set(found.items()) ^ set(expected.items()))
            raise CorruptData(
                f"{path} holds other tensors than it should: {wrong[:4]}",
                expected=f"{len(expected)} tensors as its description says",
                do="Restore the file, or make it again.",
            )
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in header}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        raise _not_tensors(path, error) from None


def tensor_header(path: Path) -> dict[str, dict[str, Any]]:
    """Names, dtypes, shapes and offsets of a safetensors file, read without its data. Raises CorruptData."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > HEADER_LIMIT:
                raise ValueError(f"its header is said to be {length} bytes long")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if path.stat().st_size != 8 + length + end:
            raise ValueError(f"it is {path.stat().st_size} bytes long, its header says {8 + length + end}")
        for entry in header.values():
            if not all(isinstance(size, int) and size >= 0 for size in entry["shape"]):
                raise ValueError("a shape is not a list of sizes")
            if not isinstance(entry["dtype"], str):
                raise ValueError("a dtype is not a name")
        return header
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise MissingMaterial(f"there is no file {path}", expected="a safetensors file", do="Check the path.") from None
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise _not_tensors(path, error) from None


def _not_tensors(path: Path, error: Exception) -> CorruptData:
    return CorruptData(
        f"{path} is not a whole safetensors file ({error})", expected="what assay wrote", do="Make it again."
    )


def hash_file(path: Path) -> str:
    """xxh3-128 of a file, as hex."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def publish(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside its place, write its MANIFEST last, and rename it into place whole, replacing an older one.

    Raises OutOfDisk, and StoreError when something that was not published stands at its place.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StoreError(
            f"{folder} holds something that assay did not write", expected="a free place", do="Choose another folder."
        )
    part, old = (folder.with_name(f"{folder.name}.{what}{os.getpid()}") for what in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    with room_for(part, 0):
        part.mkdir(parents=True)
    try:
        fill(part)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        entries = {
            str(path.relative_to(part)): {"bytes": path.stat().st_size, "xxh3_128": hash_file(path)} for path in files
        }
        write_json(part / MANIFEST, entries)
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
        sync_folder(folder.parent)
    finally:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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
            problems.append(f"{folder / MANIFEST} names a file outside its folder: {name!r}")
        elif not path.is_file():
            problems.append(f"{path} is missing")
        elif path.stat().st_size != size:
            problems.append(f"{path} is {path.stat().st_size} bytes long, expected {size}")
        elif hash_file(path) != digest:
            problems.append(f"{path} is not the file that was written (its hash differs)")
    return problems


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
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfDisk(
            f"the disk under {path.parent} is full",
            expected=f"room for {size:,} more bytes",
            do="Free some space and run the same command again; it goes on where it stopped.",
        ) from error
