"""One file of activations: `activations` [N D], `origin` [N 2] (document, position) and `sum` [D].

Each opening checks names, dtypes and shapes in the header before anything is mapped, then the hash of the whole file; only then are the
tensors mapped, so that no row is copied until it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import xxhash
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from assay import disk, tensor_file
from assay.activations.manifest import Description, Line, shard_file
from assay.errors import CorruptData, MissingMaterial, ran_out_of_memory

ROWS_AT_ONCE = 2048
NAMES_ON_DISK = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}


@dataclass(frozen=True, eq=False)
class Shard:
    """Some rows of a store, in an order that mixes the documents."""

    index: int
    activations: Float[Tensor, "N D"]
    origin: Int[Tensor, "N 2"]
    """(document, position) of each row; (-1, -1) where there is none."""

    def sum(self) -> Float[Tensor, " D"]:
        """Sum of the rows, in float64."""
        total = torch.zeros(self.activations.shape[1], dtype=torch.float64)
        for rows in self._doubles():
            total += rows.sum(0)
        return total

    def sum_of_squares(self) -> float:
        """Sum of all squared entries, in float64."""
        return float(sum(rows.square().sum() for rows in self._doubles()))

    def absmax(self) -> float:
        """Largest absolute entry."""
        return float(max(rows.abs().max() for rows in self._doubles()))

    def nonfinite(self) -> int:
        """Entries that are NaN or infinite."""
        return sum(int((~torch.isfinite(rows)).sum()) for rows in self._doubles())

    def _doubles(self) -> Iterator[Float[Tensor, "n D"]]:
        return (rows.double() for rows in self.activations.split(ROWS_AT_ONCE))


def write_shard(folder: Path, shard: Shard) -> Line:
    """Put a shard into its store's folder; its line for the manifest. Raises OutOfDisk."""
    total, name = shard.sum(), shard_file(shard.index)
    tensors = {"activations": shard.activations, "origin": shard.origin, "sum": total}
    size, digest = tensor_file.write(folder / name, tensors)
    return Line(
        index=shard.index,
        file=name,
        rows=len(shard.activations),
        bytes=size,
        xxh3_128=digest,
        sum_xxh3_128=_hash(total),
        sum_of_squares=shard.sum_of_squares(),
        absmax=shard.absmax(),
        nonfinite=shard.nonfinite(),
    )


def read_shard(folder: Path, line: Line, description: Description) -> Shard:
    """The shard of a line of the manifest, mapped from its file. Raises CorruptData, naming the file."""
    path = folder / line.file
    check_header(path, line, description)
    if disk.hash_file(path) != line.xxh3_128:
        raise damaged(path, "is not the file that was written (its hash differs)")
    tensors = _mapped(path, "activations", "origin")
    return Shard(line.index, *tensors)


def read_sum(folder: Path, line: Line, description: Description) -> Float[Tensor, " D"]:
    """The sum of a shard's rows; of its file only the header and the sum are read. Raises CorruptData."""
    path = folder / line.file
    check_header(path, line, description)
    (total,) = _mapped(path, "sum")
    if _hash(total) != line.sum_xxh3_128:
        raise damaged(path, "does not hold the sum that was written (its hash differs)")
    return total


def check_header(path: Path, line: Line, description: Description) -> None:
    """Compare size, names, dtypes and shapes of a file with what they should be. Raises CorruptData."""
    try:
        header = tensor_file.header_of(path)
    except MissingMaterial:
        raise damaged(path, "is missing") from None
    except CorruptData as error:
        raise damaged(path, error.got.removeprefix(f"{path} ")) from None
    found = {name: (entry.get("dtype"), entry["shape"]) for name, entry in header.items()}
    expected = {
        "activations": (NAMES_ON_DISK[description.dtype], [line.rows, description.width]),
        "origin": ("I32", [line.rows, 2]),
        "sum": ("F64", [description.width]),
    }
    if found != expected:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise damaged(path, f"holds other tensors than it should: {', '.join(wrong[:4])}")
    if path.stat().st_size != line.bytes:
        raise damaged(path, f"is {path.stat().st_size:,} bytes long instead of {line.bytes:,}")


def damaged(path: Path, what: str) -> CorruptData:
    """A shard cannot be used, and how to get it back."""
    return CorruptData(
        f"{path} {what}",
        expected="the shard that the harvest wrote",
        do="Run `assay verify --repair` on the folder of the run, or the same harvest with repair=True: only this is made again.",
    )


def _mapped(path: Path, *names: str) -> list[Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return [file.get_tensor(name) for name in names]
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        raise damaged(path, f"cannot be mapped ({error})") from None


def _hash(tensor: Tensor) -> str:
    return xxhash.xxh3_128_hexdigest(tensor.contiguous().numpy().data)
