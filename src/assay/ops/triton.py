"""The sparse operations as Triton kernels, for a GPU. `portable` holds the plain forms, which say what each must give.

NOT MEASURED ON A GPU: the tests check results in Triton's interpreter, and that every kernel compiles for a GPU. None has run on one,
so the sizes of the tiles are estimates.

Nothing here is differentiable, and nothing is atomic: equal inputs give equal bits. Matrices may hold float16, bfloat16, float32 or
float64; sums are kept in float32 (float64 for float64) and results take the widest dtype of the inputs. Only this module imports
triton; import it where it is needed, and set TRITON_INTERPRET=1 before that to run on a CPU.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from assay.codes import CsrSupport, Entries
from assay.ops.portable import (
    sum_by_latent,
    top,
    top_groups,
    transpose,
)  # PyTorch's own sort, sums, top-k serve here too

__all__ = [
    "dots",
    "dots_pair",
    "outside",
    "sum_by_latent",
    "times",
    "times_pair",
    "top",
    "top_groups",
    "transpose",
    "transpose_times",
]

TILE_ROWS, TILE_LATENTS = 64, 128
"""Tile of the encoder product: 64 sums a thread on 4 warps, which still fit in registers. LATENTS is a multiple of 32."""

TILE_DEPTH = 32
"""Columns of a tile that are multiplied at once: 24 KiB of float32 a stage in shared memory."""

COMPACT_ROWS = 16
"""Rows of a tile whose bits become indices at once: the places are int64, and a whole tile of them spills registers."""

ENTRIES, COLUMNS = 16, 128
"""Matrix rows gathered at once, and columns of them: each gather reads whole 256-byte or 512-byte stretches."""


def outside(
    x: Float[Tensor, "B D"],
    center: Float[Tensor, " D"],
    encoder: Float[Tensor, "L D"],
    high: Float[Tensor, " L"],
    low: Float[Tensor, " L"],
    limit: int,
) -> Entries | None:
    """Products W (x - center) that are above `high` or below `low` of their latent; None if there are more than `limit`.

    One pass over the product stores a bit an entry and a count a tile; a second pass turns the bits into indices at the counted
    places. The products of the N kept entries are then taken again, for 2 N D operations: a second pass over the whole product would
    cost 2 B L D, and keeping the first would take a B x L table or slots that can overflow. The first decides the support; the second
    adds in another order, so that a product next to its bound may come out on the other side by rounding.
    """
    x = (x - center).to(x.dtype)
    bits, places = _marked(x.contiguous(), encoder.contiguous(), high.contiguous(), low.contiguous())
    number = int(places[-1, 0])
    if number > limit:
        return None
    offsets, indices = places[:, 0].contiguous(), places.new_empty(number)
    grid = (_pieces(len(x), COMPACT_ROWS), places.shape[1])
    _launch(_compact, grid, bits, places, indices, len(x), ROWS=COMPACT_ROWS, LATENTS=TILE_LATENTS)
    (products,) = _entry_dots(CsrSupport(offsets, indices, len(encoder)), [x], encoder, _widest(x, encoder, high))
    return offsets, indices, products


def times(support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "L D"]) -> Float[Tensor, "B D"]:
    """V M: for each row, the sum of `matrix` rows weighted by the values."""
    return _weighted_sums(support.offsets, support.indices, [values], matrix)[0]


def times_pair(
    support: CsrSupport, values: Float[Tensor, " N"], others: Float[Tensor, " N"], matrix: Float[Tensor, "L D"]
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """`times` for two values on one support, with each row of `matrix` gathered once for both."""
    first, second = _weighted_sums(support.offsets, support.indices, [values, others], matrix)
    return first, second


def transpose_times(
    support: CsrSupport, values: Float[Tensor, " N"], matrix: Float[Tensor, "B D"]
) -> Float[Tensor, "L D"]:
    """V^T M: for each latent, the sum of the batch rows it fired on weighted by the values, in row order."""
    starts, rows, order = support.transpose
    return _weighted_sums(starts, rows, [values[order]], matrix)[0]


def dots(support: CsrSupport, left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]) -> Float[Tensor, " N"]:
    """left_b . right_l for each entry (b, l)."""
    return _entry_dots(support, [left], right, _widest(left, right))[0]


def dots_pair(
    support: CsrSupport, left: Float[Tensor, "B D"], other_left: Float[Tensor, "B D"], right: Float[Tensor, "L D"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """`dots` for two matrices on the left, with each row of `right` gathered once for both."""
    first, second = _entry_dots(support, [left, other_left], right, _widest(left, other_left, right))
    return first, second


def _marked(x: Tensor, encoder: Tensor, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """A bit for each product, set where it is outside; and where the entries of each row and block of latents go."""
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":  # the interpreter would multiply the bits as integers
        x, encoder = x.float(), encoder.float()
    (rows, width), latents = x.shape, len(encoder)
    blocks = max(_pieces(latents, TILE_LATENTS), 1)
    bits = torch.empty(rows, blocks * TILE_LATENTS // 32, dtype=torch.int32, device=x.device)
    counts = torch.zeros(rows + 1, blocks, dtype=torch.int64, device=x.device)
    tile: dict[str, Any] = {"ROWS": TILE_ROWS, "LATENTS": TILE_LATENTS, "DEPTH": TILE_DEPTH, "SUM": _sum_dtype(x)}
    grid = (_pieces(rows, TILE_ROWS), blocks)  # neighbours share a tile of the encoder
    _launch(_mark, grid, x, encoder, high, low, bits, counts, rows, latents, width, **tile)
    return bits, (counts.view(-1).cumsum(0) - counts.view(-1)).view_as(counts)


def _weighted_sums(offsets: Tensor, indices: Tensor, weights: list[Tensor], matrix: Tensor) -> list[Tensor]:
    """For each list of weights: sum_n weights[n] matrix[indices[n]] over each stretch of entries between two offsets."""
    rows, width = len(offsets) - 1, matrix.shape[1]
    weights, matrix = [each.contiguous() for each in weights], matrix.contiguous()
    sums = [matrix.new_empty(rows, width, dtype=_widest(matrix, *weights)) for _ in weights]
    entries = (offsets.contiguous(), indices.contiguous(), weights[0], weights[-1])
    grid = (rows, _pieces(width, COLUMNS))
    _launch(_sum_gathered, grid, *entries, matrix, sums[0], sums[-1], width, **_gather(sums))
    return sums


def _entry_dots(support: CsrSupport, lefts: list[Tensor], right: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """For each left: left[row] . right[latent] of every entry."""
    number, width = len(support.indices), right.shape[1]
    lefts, right = [left.contiguous() for left in lefts], right.contiguous()
    found = [right.new_empty(number, dtype=dtype) for _ in lefts]
    entries = (support.rows, support.indices.contiguous())
    grid = (_pieces(number, ENTRIES),)
    matrices = (lefts[0], lefts[-1], right)
    _launch(_dot_gathered, grid, *entries, *matrices, found[0], found[-1], number, width, **_gather(found))
    return found


def _launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **constants: Any) -> None:
    with torch.cuda.device_of(first):  # Triton launches on the current device, wherever the tensors are
        kernel[grid](first, *arguments, **constants)


def _pieces(number: int, size: int) -> int:
    return -(-number // size)


def _gather(results: list[Tensor]) -> dict[str, Any]:
    return {"PAIR": len(results) == 2, "SUM": _sum_dtype(results[0]), "ENTRIES": ENTRIES, "COLUMNS": COLUMNS}


def _widest(*tensors: Tensor) -> torch.dtype:
    return reduce(torch.promote_types, [tensor.dtype for tensor in tensors])


def _sum_dtype(tensor: Tensor) -> tl.dtype:
    return tl.float64 if tensor.dtype == torch.float64 else tl.float32


# Kernels. Row and latent numbers are int64 wherever a stride multiplies them: L D and B L / 32 can pass 2^31.


@triton.jit
@no_type_check
def _mark(
    x, encoder, high, low, bits, counts, rows, latents, width,
    ROWS: tl.constexpr, LATENTS: tl.constexpr, DEPTH: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """A tile of x W^T: a bit where it is outside its bounds, and how many are in each row."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    latent = tl.program_id(1).to(tl.int64) * LATENTS + tl.arange(0, LATENTS)
    product = tl.zeros([ROWS, LATENTS], SUM)
    for start in range(0, width, DEPTH):
        column = start + tl.arange(0, DEPTH)
        x_mask = (row < rows)[:, None] & (column < width)[None, :]
        encoder_mask = (column < width)[:, None] & (latent < latents)[None, :]
        x_tile = tl.load(x + row[:, None] * width + column[None, :], mask=x_mask, other=0.0)
        encoder_tile = tl.load(encoder + column[:, None] + latent[None, :] * width, mask=encoder_mask, other=0.0)
        product = tl.dot(x_tile, encoder_tile, product, input_precision="ieee", out_dtype=SUM)
    above = product > tl.load(high + latent, mask=latent < latents, other=0.0).to(SUM)[None, :]
    below = product < tl.load(low + latent, mask=latent < latents, other=0.0).to(SUM)[None, :]
    kept = ((above | below) & (latent < latents)[None, :]).to(tl.int32)
    tl.store(counts + row * tl.num_programs(1) + tl.program_id(1), tl.sum(kept, axis=1), mask=row < rows)
    words = tl.sum(tl.reshape(kept, [ROWS, LATENTS // 32, 32]) << tl.arange(0, 32)[None, None, :], axis=2)
    tl.store(_word(bits, row, LATENTS), words, mask=(row < rows)[:, None])


@triton.jit
@no_type_check
def _compact(bits, places, indices, rows, ROWS: tl.constexpr, LATENTS: tl.constexpr):
    """The latents of a tile whose bit is set, written from the place of their row and block on."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    latent = tl.program_id(1).to(tl.int64) * LATENTS + tl.arange(0, LATENTS)
    words = tl.load(_word(bits, row, LATENTS), mask=(row < rows)[:, None], other=0)
    kept = tl.reshape((words[:, :, None] >> tl.arange(0, 32)[None, None, :]) & 1, [ROWS, LATENTS])
    first = tl.load(places + row * tl.num_programs(1) + tl.program_id(1), mask=row < rows, other=0)
    place = first[:, None] + tl.cumsum(kept, axis=1) - kept
    tl.store(indices + place, tl.broadcast_to(latent[None, :], [ROWS, LATENTS]), mask=kept != 0)


@triton.jit
@no_type_check
def _word(bits, row, LATENTS: tl.constexpr):
    """Where the words of this program's block of latents are [ROWS, LATENTS / 32]."""
    words: tl.constexpr = LATENTS // 32
    block = row * tl.num_programs(1) + tl.program_id(1)
    return bits + block[:, None] * words + tl.arange(0, words)[None, :]


@triton.jit
@no_type_check
def _sum_gathered(
    offsets, indices, weights_a, weights_b, matrix, sums_a, sums_b, width,
    PAIR: tl.constexpr, SUM: tl.constexpr, ENTRIES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Some columns of one row of V M: the sum over the row's entries, `ENTRIES` at a time."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    sum_a = tl.zeros([COLUMNS], SUM)
    sum_b = tl.zeros([COLUMNS], SUM)
    stop = tl.load(offsets + row + 1)
    for start in range(tl.load(offsets + row), stop, ENTRIES):
        entry = start + tl.arange(0, ENTRIES)
        latent = tl.load(indices + entry, mask=entry < stop, other=0)
        mask = (entry < stop)[:, None] & (column < width)[None, :]
        gathered = tl.load(matrix + latent[:, None] * width + column[None, :], mask=mask, other=0.0).to(SUM)
        weight = tl.load(weights_a + entry, mask=entry < stop, other=0.0).to(SUM)
        sum_a += tl.sum(weight[:, None] * gathered, axis=0)
        if PAIR:
            weight = tl.load(weights_b + entry, mask=entry < stop, other=0.0).to(SUM)
            sum_b += tl.sum(weight[:, None] * gathered, axis=0)
    tl.store(sums_a + row * width + column, sum_a, mask=column < width)
    if PAIR:
        tl.store(sums_b + row * width + column, sum_b, mask=column < width)


@triton.jit
@no_type_check
def _dot_gathered(
    rows, indices, left_a, left_b, right, dots_a, dots_b, number, width,
    PAIR: tl.constexpr, SUM: tl.constexpr, ENTRIES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """left[row] . right[latent] of `ENTRIES` neighbouring entries, which mostly share their row of `left`."""
    entry = tl.program_id(0).to(tl.int64) * ENTRIES + tl.arange(0, ENTRIES)
    row = tl.load(rows + entry, mask=entry < number, other=0)
    latent = tl.load(indices + entry, mask=entry < number, other=0)
    dot_a = tl.zeros([ENTRIES], SUM)
    dot_b = tl.zeros([ENTRIES], SUM)
    for start in range(0, width, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        mask = (entry < number)[:, None] & (column < width)[None, :]
        gathered = tl.load(right + latent[:, None] * width + column[None, :], mask=mask, other=0.0).to(SUM)
        place = row[:, None] * width + column[None, :]
        dot_a += tl.sum(tl.load(left_a + place, mask=mask, other=0.0).to(SUM) * gathered, axis=1)
        if PAIR:
            dot_b += tl.sum(tl.load(left_b + place, mask=mask, other=0.0).to(SUM) * gathered, axis=1)
    tl.store(dots_a + entry, dot_a, mask=entry < number)
    if PAIR:
        tl.store(dots_b + entry, dot_b, mask=entry < number)
