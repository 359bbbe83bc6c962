"""The sparse operations on a CPU, compiled for the processor at hand: float32, contiguous, as fast as its memory and its multipliers.

Each function does what its namesake in `ops.portable` does. `serves` says for which tensors; the first use on a machine compiles, see
`compiled`.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.codes import ByLatent, CsrSupport, Entries, offsets_of
from assay.ops import portable
from assay.ops.kernels.compiled import Kernel, available, compile_seconds, host
from assay.ops.kernels.geometry import BLOCK, LATENTS, MR, NR, ROWS, SPAN, pieces

__all__ = [
    "adam_rows",
    "compile_seconds",
    "dots",
    "dots_pair",
    "host",
    "outside",
    "prepare",
    "serves",
    "sum_by_latent",
    "times",
    "times_pair",
    "top",
    "top_groups",
    "transpose",
    "transpose_times",
]

_HERE = __name__
_PACK_ROWS = Kernel(f"{_HERE}.product", "pack_rows", "f4[:,::1], f4[::1], f4[:,:,::1]")
_PACK_ENCODER = Kernel(f"{_HERE}.product", "pack_encoder", "f4[:,::1], i8, f4[:,:,::1]")
_SELECT_OUTSIDE = Kernel(
    f"{_HERE}.product",
    "select_outside",
    "f4[:,:,::1], i8, f4[:,::1], f4[::1], f4[::1], f4[:,:,::1], f4[:,:,::1], u1[:,::1], f4[:,::1], "
    "u1[:,::1], i4[:,::1], i8[::1], u1[::1], f4[::1], i8[::1]",
)
_COUNT_ROWS = Kernel(f"{_HERE}.product", "count_rows", "u1[:,::1], i8[::1]")
_GATHER_ROWS = Kernel(
    f"{_HERE}.product",
    "gather_rows",
    "i8[:,::1], u1[:,::1], i4[:,::1], i8[::1], u1[::1], f4[::1], i8[::1], i8[::1], f4[::1]",
)
_SELECT_TOP = Kernel(
    f"{_HERE}.product",
    "select_top",
    "f4[:,:,::1], i8, f4[:,:,::1], f4[::1], i8, i8, f4[:,:,::1], f4[:,::1], i4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,::1], "
    "i8[::1], i8[:,::1], f4[:,::1]",
)
_SELECT_TOP_GROUPS = Kernel(
    f"{_HERE}.product",
    "select_top_groups",
    "f4[:,:,::1], i8, f4[:,:,::1], f4[::1], i8, i8, i8, f4[:,:,::1], f4[:,::1], i4[:,:,::1], f4[:,:,::1], f4[:,::1], "
    "i8[::1], i8[:,::1]",
)
_TIMES = Kernel(f"{_HERE}.passes", "times", "i8[::1], i8[::1], f4[::1], f4[:,::1], f4[:,::1]")
_TIMES_PAIR = Kernel(
    f"{_HERE}.passes", "times_pair", "i8[::1], i8[::1], f4[::1], f4[::1], f4[:,::1], f4[:,::1], f4[:,::1]"
)
_DOTS = Kernel(f"{_HERE}.passes", "dots", "i8[::1], i8[::1], f4[:,::1], f4[:,::1], f4[::1]")
_DOTS_PAIR = Kernel(
    f"{_HERE}.passes", "dots_pair", "i8[::1], i8[::1], f4[:,::1], f4[:,::1], f4[:,::1], f4[::1], f4[::1]"
)
_TRANSPOSE = Kernel(f"{_HERE}.passes", "transpose", "i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1]")
_TRANSPOSE_TIMES = Kernel(
    f"{_HERE}.passes", "transpose_times", "i8[::1], i8[::1], i8[::1], f4[::1], f4[:,::1], f4[:,::1]"
)
_SUM_BY_LATENT = Kernel(f"{_HERE}.passes", "sum_by_latent", "i8[::1], i8[::1], f4[::1], f4[::1]")
_ADAM_ROWS = Kernel(
    f"{_HERE}.descent",
    "adam_rows",
    "i8, f4[:,::1], i8[::1], i8[::1], i8[::1], f4[::1], f4[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], "
    "f8, f8, f8, f8, f8, i8",
)


CHUNK = 1 << 14
"""Rows that go through the encoder at once; it bounds the room that is kept free for entries."""

_ALL = [each for each in list(globals().values()) if isinstance(each, Kernel)]


def serves(*tensors: Tensor) -> bool:
    """Whether these tensors can be worked on here: float32 in the CPU's memory, outside torch.compile, and a compiler installed."""
    if torch.compiler.is_compiling() or not available():
        return False
    return all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)


def prepare() -> float:
    """Have every kernel compiled or read from the cache; the seconds that took."""
    started = time.perf_counter()
    if available():
        for kernel in _ALL:
            _ = kernel.address
    return time.perf_counter() - started


def outside(
    x: Float[Tensor, "B D"],
    center: Float[Tensor, " D"],
    encoder: Float[Tensor, "L D"],
    high: Float[Tensor, " L"],
    low: Float[Tensor, " L"],
    limit: int,
) -> Entries | None:
    """Products (x - center) W^T that are above `high` or below `low` of their latent; None if there are more than `limit`."""
    parts, found = [], 0
    for rows in x.split(CHUNK):
        part = _outside(rows, center, encoder, high, low, min(limit - found, len(rows) * len(encoder)))
        if part is None:
            return None
        parts.append(part)
        found += len(part[1])
    if len(parts) == 1:
        return parts[0]
    totals = torch.cat([offsets.diff() for offsets, _, _ in parts])
    return offsets_of(totals), torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])


def _outside(x: Tensor, center: Tensor, encoder: Tensor, high: Tensor, low: Tensor, limit: int) -> Entries | None:
    panels, blocks, workers = pieces(len(encoder), NR), pieces(len(x), BLOCK), torch.get_num_threads()
    counts = torch.empty(panels, len(x), dtype=torch.uint8)
    marks = torch.empty(panels, blocks, dtype=torch.int32)
    starts, taken = torch.empty(panels, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    found, kept = (
        torch.from_numpy(np.empty(limit, kind)) for kind in (np.uint8, np.float32)
    )  # touched as far as filled
    _SELECT_OUTSIDE(
        panels,
        _packed_rows(x, center),
        len(x),
        encoder.contiguous(),
        _padded(high, panels * NR, torch.inf),
        _padded(low, panels * NR, -torch.inf),
        torch.empty(workers, x.shape[1], NR),
        torch.empty(workers, MR, NR),
        torch.empty(workers, NR * len(x), dtype=torch.uint8),
        torch.empty(workers, NR * len(x)),
        counts,
        marks,
        starts,
        found,
        kept,
        taken,
    )
    if int(taken) > limit:
        return None
    totals = torch.empty(len(x), dtype=torch.int64)
    _COUNT_ROWS(blocks, counts, totals)
    offsets = offsets_of(totals)
    latents, products = torch.empty(int(taken), dtype=torch.int64), torch.empty(int(taken))
    cursors = torch.empty(workers, panels, dtype=torch.int64)
    _GATHER_ROWS(blocks, cursors, counts, marks, starts, found, kept, offsets, latents, products)
    return offsets, latents, products


def top(
    x: Float[Tensor, "B D"],
    center: Float[Tensor, " D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
) -> Entries:
    """Products (x - center) W^T on the k largest products + bias of each row, ties to the lowest latent."""
    panels, workers, rows = pieces(len(encoder), NR), torch.get_num_threads(), SPAN * MR
    buffer = min(max(2 * k, k + 256), len(encoder)) + 1
    packed = _packed_encoder(encoder, NR)
    packed_rows = _packed_rows(x, center)
    count = pieces(len(packed_rows), SPAN)
    counts = torch.empty(count * rows, dtype=torch.int64)
    latents, values = torch.empty(len(x), k, dtype=torch.int64), torch.empty(len(x), k)
    _SELECT_TOP(
        count,
        packed_rows,
        len(x),
        packed,
        _padded(bias, panels * NR, -torch.inf),
        k,
        SPAN,
        torch.empty(workers, MR, NR),
        torch.empty(workers, rows),
        torch.empty(workers, rows, buffer, dtype=torch.int32),
        torch.empty(workers, rows, buffer),
        torch.empty(workers, rows, buffer),
        torch.empty(workers, buffer),
        counts,
        latents,
        values,
    )
    held = counts[: len(x)]
    if bool((held < k).any()):  # rows with NaN
        filled = torch.arange(k) < held[:, None]
        return offsets_of(held), latents[filled], values[filled]
    return offsets_of(held), latents.view(-1), values.view(-1)


def top_groups(
    x: Float[Tensor, "B D"],
    center: Float[Tensor, " D"],
    encoder: Float[Tensor, "L D"],
    bias: Float[Tensor, " L"],
    k: int,
    size: int,
) -> Entries:
    """Products (x - center) W^T on the k groups of `size` latents with the largest products + bias, ties to the lowest group."""
    if size > NR:
        return portable.top_groups(x, center, encoder, bias, k, size)
    workers, rows = torch.get_num_threads(), SPAN * MR
    buffer = min(max(2 * k, k + 256), len(encoder) // size) + 1
    packed_rows = _packed_rows(x, center)
    count = pieces(len(packed_rows), SPAN)
    counts = torch.empty(count * rows, dtype=torch.int64)
    groups = torch.empty(len(x), k, dtype=torch.int64)
    _SELECT_TOP_GROUPS(
        count,
        packed_rows,
        len(x),
        _packed_encoder(encoder, NR // size * size),
        bias.contiguous(),
        size,
        k,
        SPAN,
        torch.empty(workers, MR, NR),
        torch.empty(workers, rows),
        torch.empty(workers, rows, buffer, dtype=torch.int32),
        torch.empty(workers, rows, buffer),
        torch.empty(workers, buffer),
        counts,
        groups,
    )
    held = counts[: len(x)]
    filled = torch.arange(k) < held[:, None]  # all, but in rows with NaN
    latents = (groups[filled][:, None] * size + torch.arange(size)).view(-1)
    support = CsrSupport(offsets_of(held * size), latents, len(encoder))
    return support.offsets, latents, dots(support, x - center, encoder)


def times(support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "L D"]) -> Float[Tensor, "B D"]:
    """V M: for each row, the sum of `matrix` rows weighted by the values."""
    out = torch.empty(len(support), matrix.shape[1])
    _TIMES(*_by_row(support), values.contiguous(), matrix.contiguous(), out)
    return out


def times_pair(
    support: CsrSupport, values: Float[Tensor, " N"], others: Float[Tensor, " N"], matrix: Float[Tensor, "L D"]
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """`times` for two values on one support, with one reading of the matrix."""
    out, other = torch.empty(len(support), matrix.shape[1]), torch.empty(len(support), matrix.shape[1])
    _TIMES_PAIR(*_by_row(support), values.contiguous(), others.contiguous(), matrix.contiguous(), out, other)
    return out, other


def dots(support: CsrSupport, left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]) -> Float[Tensor, " N"]:
    """left_b . right_l for each entry (b, l)."""
    out = torch.empty(len(support.indices))
    _DOTS(*_by_row(support), left.contiguous(), right.contiguous(), out)
    return out


def dots_pair(
    support: CsrSupport, left: Float[Tensor, "B D"], other_left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """`dots` for two matrices on the left, with one reading of the right one."""
    out, other = torch.empty(len(support.indices)), torch.empty(len(support.indices))
    matrices = left.contiguous(), other_left.contiguous(), right.contiguous()
    _DOTS_PAIR(*_by_row(support), *matrices, out, other)
    return out, other


def transpose(offsets: Int[Tensor, " offsets"], indices: Int[Tensor, " N"], width: int) -> ByLatent:
    """The entries of a CSR support sorted by latent."""
    starts, cursor = torch.empty(width + 1, dtype=torch.int64), torch.empty(width, dtype=torch.int64)
    rows, order = torch.empty(len(indices), dtype=torch.int64), torch.empty(len(indices), dtype=torch.int64)
    _TRANSPOSE(1, offsets.contiguous(), indices.contiguous(), starts, cursor, rows, order)
    return starts, rows, order


def transpose_times(
    support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "B D"]
) -> Float[Tensor, "L D"]:
    """V^T M: for each latent, the sum of the batch rows it fired on weighted by the values."""
    out = torch.empty(support.width, matrix.shape[1])
    by_latent = support.transpose
    count = pieces(support.width, LATENTS)
    _TRANSPOSE_TIMES(count, *by_latent, values.contiguous(), matrix.contiguous(), out)
    return out


def sum_by_latent(support: CsrSupport, values: Float[Tensor, " N"]) -> Float[Tensor, " L"]:
    """Sum of the values of each latent."""
    starts, _, order = support.transpose
    out = torch.empty(support.width)
    _SUM_BY_LATENT(pieces(support.width, LATENTS), starts, order, values.contiguous(), out)
    return out


def adam_rows(
    parameter: Float[Tensor, "L D"],
    table: Float[Tensor, "L D"] | None,
    entries: ByLatent,
    values: Float[Tensor, " N"],
    matrix: Float[Tensor, "B D"],
    square: Float[Tensor, "L D"],
    mean: Float[Tensor, "L D"] | None,
    *,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    unit: bool,
) -> None:
    """`ops.adam` on a matrix whose gradient is V^T M plus a table, a row at a time: no gradient is written out."""
    width, depth = parameter.shape
    none = torch.empty(0, depth)
    _ADAM_ROWS(
        pieces(width, LATENTS),
        width,
        none if table is None else table.contiguous(),
        *entries,
        values.contiguous(),
        matrix.contiguous(),
        torch.empty(torch.get_num_threads(), depth),
        none if mean is None else mean,
        square,
        parameter,
        rate / (1 - beta1**step),
        beta1,
        beta2,
        eps,
        math.sqrt(1 - beta2**step),
        int(unit),
    )


def _by_row(support: CsrSupport) -> tuple[int, Tensor, Tensor]:
    """Pieces of rows, and the support."""
    return pieces(len(support), ROWS), support.offsets.contiguous(), support.indices.contiguous()


def _packed_rows(x: Tensor, center: Tensor) -> Tensor:
    packed = torch.empty(pieces(len(x), MR), x.shape[1], MR)
    _PACK_ROWS(len(packed), x.contiguous(), center.contiguous(), packed)
    return packed


def _packed_encoder(encoder: Tensor, count: int) -> Tensor:
    """Panels of `count` latents, at most NR, each by depth."""
    packed = torch.empty(pieces(len(encoder), count), encoder.shape[1], NR)
    _PACK_ENCODER(len(packed), encoder.contiguous(), count, packed)
    return packed


def _padded(vector: Tensor, length: int, fill: float) -> Tensor:
    return torch.cat([vector, vector.new_full((length - len(vector),), fill)])
