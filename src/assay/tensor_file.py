"""Safetensors files: written block by block, checked before anything is allocated, and mapped when they are read."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from torch import Tensor

from assay import disk
from assay.errors import CorruptData, ran_out_of_memory, shown

HEADER_LIMIT = 1 << 20
"""Largest header that is read, in bytes: parsed, it may take 26 times as much memory."""
DTYPES = {
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""What is written to and read from a safetensors file, by its name in the header; tensors of the earlier ones come first in a file."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}
Signature = Mapping[str, tuple[str, tuple[int, ...]]]
"""Dtype and shape of each tensor of a file by name."""


def write(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """A safetensors file, written like `disk.write`; returns its size and xxh3-128."""
    data = TensorBytes(tensors)
    disk.write(path, data)
    return len(data), data.digest.hexdigest()


class TensorBytes:
    """The bytes of a safetensors file, the same that safetensors would write, a block at a time and never in memory as a whole."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        ranks = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}
        names = sorted(tensors, key=lambda name: (ranks[tensors[name].dtype], name))
        entries, self.size = {}, 0
        for name in names:
            begin, self.size = self.size, self.size + tensors[name].nbytes
            kind, shape = NAMES[tensors[name].dtype], list(tensors[name].shape)
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
            if block and len(block) + len(part) > disk.BLOCK:
                yield self._digested(block)
                block = bytearray()
            if len(part) > disk.BLOCK:
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


def signature(tensors: Mapping[str, Tensor]) -> Signature:
    """What the header of a file with these tensors says."""
    return {name: (NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}


def compare(path: Path, found: Signature, expected: Signature) -> None:
    """Raise CorruptData unless a file holds exactly the tensors that it should."""
    if dict(found) != dict(expected):
        wrong = sorted(set(found.items()) ^ set(expected.items()))
        raise CorruptData(
            f"{path} holds other tensors than it should: {shown(wrong)}",
            expected=f"{len(expected)} tensors as its description says",
            do="Restore the file, or make it again.",
        )


def read(path: Path, expected: Signature | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, mapped: a page takes memory when it is read.

    With `expected` {name: (dtype, shape)} anything else is refused before that. Raises MissingMaterial, CorruptData.
    """
    header = header_of(path)
    if expected is not None:
        compare(path, {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}, expected)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in header}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        raise _not_tensors(path, error) from None


def header_of(path: Path) -> dict[str, dict[str, Any]]:
    """Names, dtypes, shapes and offsets of a safetensors file, read without its data. Raises CorruptData."""
    try:
        (length,) = struct.unpack("<Q", disk.read(path, 8))
        if length > HEADER_LIMIT:
            raise ValueError(f"its header is said to be {length} bytes long")
        header = disk.parse_json(disk.read(path, 8 + length)[8:])
        header.pop("__metadata__", None)
        _check_layout(header, path.stat().st_size - 8 - length)
        return header
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise _not_tensors(path, error) from None


def _check_layout(header: Mapping[str, Any], size: int) -> None:
    """Hold the tensors, one after another and each as long as its shape says, to `size` bytes: none is worth more memory than file."""
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        sizes = begin, stop, *entry["shape"]
        if len(sizes) > 10 or any(type(number) is not int or number < 0 for number in sizes):
            raise ValueError(f"{shown(name)} has no shape of up to 8 sizes")
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{shown(name)} is of type {shown(entry['dtype'])}")
        if begin != end or stop - begin != DTYPES[entry["dtype"]].itemsize * math.prod(entry["shape"]):
            raise ValueError(f"the data of {shown(name)} do not lie where its shape says")
        end = stop
    if end != size:
        raise ValueError(f"it holds {size:,} bytes of data, its header says {shown(end)}")


def _not_tensors(path: Path, error: Exception) -> CorruptData:
    return CorruptData(
        f"{path} is not a whole safetensors file ({error})", expected="what assay wrote", do="Make it again."
    )
