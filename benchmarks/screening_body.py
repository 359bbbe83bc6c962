"""Body of the screened select of `benchmarks.screening`: the product of `ops.kernels.product` over some of the depth, then only where
it pays. Imported only to be compiled.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from assay.ops.kernels.geometry import BLOCK, MR, NR
from assay.ops.kernels.product import pack_panel
from assay.ops.kernels.vector import (
    LANES,
    _bits,
    _broadcast,
    _data,
    _fused,
    _int,
    _load,
    lowest_bit,
    multiply,
    take,
)


@no_type_check
def select_screened(
    piece, worker, x, rows, flat, encoder, k, most, high, spread, reach, panels, blocks, rests, masks, found, products,
    counts, marks, starts, arena_latents, arena_products, taken, tally,
):  # fmt: skip
    """`product.select_outside` above `high`, where products are finished only for candidates: prefix + reach[row] spread[latent] > high.

    The prefix is the product over the first `k` of the depth. A block with more than `most` candidates is finished whole; in another each
    candidate is, by a dot product of the rows of x as they lie (`flat`) and of the encoder. tally[worker]: candidates, blocks that have
    one, blocks finished whole.
    """
    panel, latents, values, c, rest, mask = (
        panels[worker], found[worker], products[worker], blocks[worker], rests[worker], masks[worker],
    )  # fmt: skip
    if taken[0] > len(arena_latents):
        return
    depth, first = x.shape[1], piece * NR
    pack_panel(encoder, piece * NR, NR, panel)
    kept = 0
    for p in range(x.shape[0]):
        multiply(x[p], panel, k, c)
        candidates, here = 0, min(MR, rows - p * MR)
        for r in range(here):
            mask[r] = reaches(c, r, high, spread, first, reach[p * MR + r])
            candidates += ones(mask[r])
        whole = candidates > most
        tally[worker, 0] += candidates
        tally[worker, 1] += candidates > 0
        tally[worker, 2] += whole
        if whole:
            multiply(x[p, k:], panel[k:], depth - k, rest)
            for r in range(MR):
                for n in range(NR):
                    c[r, n] += rest[r, n]
        for r in range(here):
            row = p * MR + r
            if row % BLOCK == 0:
                marks[piece, row // BLOCK] = kept
            before = kept
            bits = reaches(c, r, high, spread, first, np.float32(0)) if whole else mask[r]
            while bits != 0:
                n = lowest_bit(bits)
                bits &= bits - 1
                product = c[r, n]
                if not whole:
                    left, right = flat[row, k:], encoder[first + n, k:]
                    for i in range(len(left)):
                        product += left[i] * right[i]
                if product > high[first + n]:
                    latents[kept] = n
                    values[kept] = product
                    kept += 1
            counts[piece, row] = kept - before
    start = take(taken, kept)
    starts[piece] = start
    if start + kept <= len(arena_latents):
        for i in range(kept):
            arena_latents[start + i] = latents[i]
            arena_products[start + i] = values[i]


@intrinsic
@no_type_check
def reaches(typing: Any, c: Any, row: Any, high: Any, spread: Any, first: Any, reach: Any):
    """Bit n of the result: c[row, n] + reach spread[first + n] > high[first + n]. NaN is not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, high, spread = (_data(context, builder, signature, arguments, i) for i in (0, 2, 3))
        place, first, factor = builder.mul(arguments[1], _int(NR)), arguments[4], _broadcast(builder, arguments[5])

        def test(v: int) -> Any:
            at = builder.add(first, _int(v * LANES))
            value = _load(builder, c, builder.add(place, _int(v * LANES)))
            most = _fused(builder, factor, _load(builder, spread, at), value)
            return builder.fcmp_ordered(">", most, _load(builder, high, at))

        return _bits(builder, test)

    return types.int64(c, row, high, spread, first, types.float32), generate


@intrinsic
@no_type_check
def ones(typing: Any, bits: Any):
    """How many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(bits), generate
