"""A walk through a GGUF file before it is parsed: every count and length must fit into the file.

The gguf package believes them: an array that says it has 2^60 numbers keeps it busy, and fills memory, long after the file has ended.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

MAGIC, VERSIONS = 0x46554747, (2, 3)
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value by the number of its type."""
STRING, ARRAY = 8, 9
DIMENSIONS = 4
ENTRIES = 1 << 21
"""Most entries of all arrays together: each takes the parser some hundred bytes of memory."""


def check_layout(path: Path) -> None:
    """Raise ValueError when the file is no GGUF (2 or 3, little-endian), or says that it holds more than it does."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _Walk(data).header()
        except struct.error:
            raise ValueError("its header goes on beyond its end") from None


class _Walk:
    """Where in the file we are, and how many entries of arrays were passed."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place, self.entries = data, 0, 0

    def header(self) -> None:
        if self.number("<I") != MAGIC or self.number("<I") not in VERSIONS:
            raise ValueError("it does not begin like a little-endian GGUF file of version 2 or 3")
        tensors, pairs = self.number("<Q"), self.number("<Q")
        for _ in range(self.fitting(pairs, 12)):
            self.text()
            self.value(self.number("<I"))
        for _ in range(self.fitting(tensors, 24)):
            self.text()
            if (dimensions := self.number("<I")) > DIMENSIONS:
                raise ValueError(f"a tensor has {dimensions} dimensions")
            self.skip(8 * dimensions + 4 + 8)

    def value(self, kind: int) -> None:
        if kind == ARRAY:
            kind, count = self.number("<I"), self.number("<Q")
            self.entries += count
            if self.entries > ENTRIES:
                raise ValueError(f"its arrays have more than {ENTRIES:,} entries")
            if kind != STRING:
                return self.skip(self.size(kind) * count)
            for _ in range(count):
                self.text()
            return None
        return self.text() if kind == STRING else self.skip(self.size(kind))

    def text(self) -> None:
        self.skip(self.number("<Q"))

    def size(self, kind: int) -> int:
        if kind not in SIZES:
            raise ValueError(f"a value has type {kind}")
        return SIZES[kind]

    def number(self, form: str) -> int:
        (number,) = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return number

    def fitting(self, count: int, least: int) -> int:
        """The count, if so many things of at least that size can follow."""
        if count * least > len(self.data) - self.place:
            raise ValueError(f"it is said to have {count:,} things that would not fit into it")
        return count

    def skip(self, size: int) -> None:
        if size > len(self.data) - self.place:
            raise ValueError(f"something {size:,} bytes long would go on beyond its end")
        self.place += size
