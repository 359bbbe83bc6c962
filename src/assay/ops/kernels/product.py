"""Bodies: the encoder product, whose results go through a rule while they are in registers. Imported only to be compiled.

x and the encoder are packed into panels, [depth MR] and [depth NR], so that the innermost loop reads memory straight on. A block of
MR x NR products is made, compared, and forgotten: what is kept of it are the entries that the rule chose.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba.extending import register_jitable

from assay.ops.kernels.geometry import BLOCK, MR, NR
from assay.ops.kernels.vector import above, lowest_bit, multiply, outside, take


@no_type_check
def pack_rows(piece, worker, x, center, packed):
    """packed[p] = rows p MR ... of x - center, by depth; rows that x does not have are zero."""
    rows, depth = x.shape
    for k in range(depth):
        for r in range(MR):
            row = piece * MR + r
            packed[piece, k, r] = x[row, k] - center[k] if row < rows else 0


@register_jitable
@no_type_check
def pack_panel(encoder, first, count, packed):
    """packed = `count` latents of the encoder from `first` on, by depth; zero in their place where there is none."""
    width, depth = encoder.shape
    for n in range(NR):
        latent = first + n
        if n < count and latent < width:
            for k in range(depth):
                packed[k, n] = encoder[latent, k]
        else:
            for k in range(depth):
                packed[k, n] = 0


@no_type_check
def pack_encoder(piece, worker, encoder, count, packed):
    """All panels of the encoder, of `count` latents each."""
    pack_panel(encoder, piece * count, count, packed[piece])


@no_type_check
def select_outside(
    piece, worker, x, rows, encoder, high, low, panels, blocks, found, products,
    counts, marks, starts, arena_latents, arena_products, taken,
):  # fmt: skip
    """Panel `piece` of W x: the entries above `high` or below `low`, in row order, at starts[piece] of the arena.

    counts[piece, row] says how many are of which row, marks[piece, b] how many come before row b BLOCK. When the arena is full, entries
    are counted on but not kept: taken[0] then exceeds the arena's length, and the caller does without them all.
    """
    panel, latents, values, c = panels[worker], found[worker], products[worker], blocks[worker]
    if taken[0] > len(arena_latents):
        return
    depth = x.shape[1]
    pack_panel(encoder, piece * NR, NR, panel)
    kept = 0
    for p in range(x.shape[0]):
        multiply(x[p], panel, depth, c)
        for r in range(min(MR, rows - p * MR)):
            row = p * MR + r
            if row % BLOCK == 0:
                marks[piece, row // BLOCK] = kept
            before = kept
            bits = outside(c, r, high, low, piece * NR)
            while bits != 0:
                n = lowest_bit(bits)
                bits &= bits - 1
                latents[kept] = n
                values[kept] = c[r, n]
                kept += 1
            counts[piece, row] = kept - before
    start = take(taken, kept)
    starts[piece] = start
    if start + kept <= len(arena_latents):
        for i in range(kept):
            arena_latents[start + i] = latents[i]
            arena_products[start + i] = values[i]


@no_type_check
def count_rows(piece, worker, counts, totals):
    """Entries of each row in a block of rows."""
    first, last = piece * BLOCK, min((piece + 1) * BLOCK, counts.shape[1])
    for row in range(first, last):
        totals[row] = 0
    for panel in range(counts.shape[0]):
        for row in range(first, last):
            totals[row] += counts[panel, row]


@no_type_check
def gather_rows(
    piece, worker, cursors, counts, marks, starts, arena_latents, arena_products, offsets, latents, products
):
    """From panels to rows: a block of rows in CSR, latents rising within each row."""
    panels = counts.shape[0]
    cursor = cursors[worker]
    for panel in range(panels):
        cursor[panel] = starts[panel] + marks[panel, piece]
    for row in range(piece * BLOCK, min((piece + 1) * BLOCK, counts.shape[1])):
        place = offsets[row]
        for panel in range(panels):
            for _ in range(counts[panel, row]):
                latents[place] = panel * NR + arena_latents[cursor[panel]]
                products[place] = arena_products[cursor[panel]]
                cursor[panel] += 1
                place += 1


@no_type_check
def select_top(
    piece,
    worker,
    x,
    rows,
    encoder,
    bias,
    k,
    span,
    blocks,
    levels,
    found,
    products,
    keys,
    order,
    counts,
    latents,
    values,
):
    """The k largest products + bias of each row of `span` panels of x, ties to the lowest latent; latents rise within a row.

    A row's candidates are kept in order. When their buffer is full, all but the k best go, and from then on only what is better than
    the worst of those is a candidate: about k log(L / k) of the L products ever are.
    """
    panels, depth = encoder.shape[0], encoder.shape[1]
    c, level, buffer, first = blocks[worker], levels[worker], keys[worker], piece * span * MR
    held = counts[first : first + span * MR]
    for r in range(len(held)):
        level[r], held[r] = -np.inf, 0
    for panel in range(panels):
        for p in range(min(span, x.shape[0] - piece * span)):
            multiply(x[piece * span + p], encoder[panel], depth, c)
            for r in range(min(MR, rows - first - p * MR)):
                row = p * MR + r
                bits = above(c, r, bias, panel * NR, level[row])
                while bits != 0:
                    n = lowest_bit(bits)
                    bits &= bits - 1
                    at = held[row]
                    found[worker, row, at] = panel * NR + n
                    products[worker, row, at] = c[r, n]
                    buffer[row, at] = c[r, n] + bias[panel * NR + n]
                    held[row] = at + 1
                    if at + 1 == buffer.shape[1]:
                        level[row] = keep_best(
                            found[worker, row], products[worker, row], buffer[row], at + 1, k, order[worker]
                        )
                        held[row] = k
    for r in range(min(len(held), rows - first)):
        if held[r] > k:
            keep_best(found[worker, r], products[worker, r], buffer[r], held[r], k, order[worker])
            held[r] = k
        for i in range(held[r]):
            latents[first + r, i] = found[worker, r, i]
            values[first + r, i] = products[worker, r, i]


@no_type_check
def select_top_groups(
    piece, worker, x, rows, encoder, bias, size, k, span, blocks, levels, found, keys, order, counts, groups
):
    """The k groups of `size` latents whose products + bias have the largest norm in each row, ties to the lowest; rising within a row.

    As `select_top`, with a group in the place of a latent: a panel holds whole groups, and a candidate's products are not kept.
    """
    panels, depth, within = encoder.shape[0], encoder.shape[1], NR // size
    c, level, buffer, first = blocks[worker], levels[worker], keys[worker], piece * span * MR
    held = counts[first : first + span * MR]
    for r in range(len(held)):
        level[r], held[r] = -np.inf, 0
    for panel in range(panels):
        for p in range(min(span, x.shape[0] - piece * span)):
            multiply(x[piece * span + p], encoder[panel], depth, c)
            for r in range(min(MR, rows - first - p * MR)):
                row = p * MR + r
                for g in range(min(within, len(bias) // size - panel * within)):
                    group, power = panel * within + g, np.float32(0)
                    for n in range(size):
                        number = c[r, g * size + n] + bias[group * size + n]
                        power += number * number
                    if power > level[row]:
                        at = held[row]
                        found[worker, row, at] = group
                        buffer[row, at] = power
                        held[row] = at + 1
                        if at + 1 == buffer.shape[1]:
                            level[row] = keep_best(
                                found[worker, row], buffer[row], buffer[row], at + 1, k, order[worker]
                            )
                            held[row] = k
    for r in range(min(len(held), rows - first)):
        if held[r] > k:
            keep_best(found[worker, r], buffer[r], buffer[r], held[r], k, order[worker])
            held[r] = k
        for i in range(held[r]):
            groups[first + r, i] = found[worker, r, i]


@register_jitable
@no_type_check
def keep_best(latents, products, keys, count, k, scratch):
    """Move the k entries of the largest keys to the front, in their order, ties to the first; the k-th largest key."""
    for i in range(count):
        scratch[i] = keys[i]
    worst = kth_largest(scratch, count, k)
    ties = k
    for i in range(count):
        if keys[i] > worst:
            ties -= 1
    kept = 0
    for i in range(count):
        if keys[i] > worst or (keys[i] == worst and ties > 0):
            if keys[i] == worst:
                ties -= 1
            latents[kept], products[kept], keys[kept] = latents[i], products[i], keys[i]
            kept += 1
    return worst


@register_jitable
@no_type_check
def kth_largest(keys, count, k):
    """Hoare's selection, in place."""
    low, high = 0, count - 1
    while low < high:
        pivot, i, j = keys[(low + high) // 2], low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    return keys[k - 1]
