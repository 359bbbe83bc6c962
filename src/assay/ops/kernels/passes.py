"""Bodies: passes over the entries of a support, by row or by latent. Imported only to be compiled.

A pass reads a row of a matrix for every entry; two values on one support share the reading.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from assay.ops.kernels.geometry import LATENTS, ROWS


@no_type_check
def times(piece, worker, offsets, indices, values, matrix, out):
    """out[b] = sum over the entries of row b of value x matrix[latent]."""
    depth = matrix.shape[1]
    for row in range(piece * ROWS, min((piece + 1) * ROWS, len(offsets) - 1)):
        for k in range(depth):
            out[row, k] = 0
        for entry in range(offsets[row], offsets[row + 1]):
            value, latent = values[entry], indices[entry]
            for k in range(depth):
                out[row, k] += value * matrix[latent, k]


@no_type_check
def times_pair(piece, worker, offsets, indices, values, others, matrix, out, other):
    """`times` for two values on one support."""
    depth = matrix.shape[1]
    for row in range(piece * ROWS, min((piece + 1) * ROWS, len(offsets) - 1)):
        for k in range(depth):
            out[row, k] = 0
            other[row, k] = 0
        for entry in range(offsets[row], offsets[row + 1]):
            value, second, latent = values[entry], others[entry], indices[entry]
            for k in range(depth):
                number = matrix[latent, k]
                out[row, k] += value * number
                other[row, k] += second * number


@no_type_check
def dots(piece, worker, offsets, indices, left, right, out):
    """out = left[row] . right[latent] for each entry."""
    depth = right.shape[1]
    for row in range(piece * ROWS, min((piece + 1) * ROWS, len(offsets) - 1)):
        for entry in range(offsets[row], offsets[row + 1]):
            latent, total = indices[entry], np.float32(0)
            for k in range(depth):
                total += left[row, k] * right[latent, k]
            out[entry] = total


@no_type_check
def dots_pair(piece, worker, offsets, indices, left, other_left, right, out, other):
    """`dots` for two matrices on the left."""
    depth = right.shape[1]
    for row in range(piece * ROWS, min((piece + 1) * ROWS, len(offsets) - 1)):
        for entry in range(offsets[row], offsets[row + 1]):
            latent, total, second = indices[entry], np.float32(0), np.float32(0)
            for k in range(depth):
                number = right[latent, k]
                total += left[row, k] * number
                second += other_left[row, k] * number
            out[entry] = total
            other[entry] = second


@no_type_check
def transpose(piece, worker, offsets, indices, starts, cursor, rows, order):
    """Counting sort of the entries by latent, rows rising: starts [L + 1], and for each place the row and the entry it came from."""
    width = len(starts) - 1
    for latent in range(width + 1):
        starts[latent] = 0
    for entry in range(len(indices)):
        starts[indices[entry] + 1] += 1
    for latent in range(width):
        starts[latent + 1] += starts[latent]
        cursor[latent] = starts[latent]
    for row in range(len(offsets) - 1):
        for entry in range(offsets[row], offsets[row + 1]):
            place = cursor[indices[entry]]
            rows[place] = row
            order[place] = entry
            cursor[indices[entry]] = place + 1


@no_type_check
def transpose_times(piece, worker, starts, rows, order, values, matrix, out):
    """out[l] = sum over the entries of latent l of value x matrix[row]."""
    depth = matrix.shape[1]
    for latent in range(piece * LATENTS, min((piece + 1) * LATENTS, len(starts) - 1)):
        for k in range(depth):
            out[latent, k] = 0
        for place in range(starts[latent], starts[latent + 1]):
            value, row = values[order[place]], rows[place]
            for k in range(depth):
                out[latent, k] += value * matrix[row, k]


@no_type_check
def sum_by_latent(piece, worker, starts, order, values, out):
    """out[l] = sum of the values of latent l."""
    for latent in range(piece * LATENTS, min((piece + 1) * LATENTS, len(starts) - 1)):
        total = np.float32(0)
        for place in range(starts[latent], starts[latent + 1]):
            total += values[order[place]]
        out[latent] = total
