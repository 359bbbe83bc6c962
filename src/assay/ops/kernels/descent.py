"""Bodies: Adam on the rows of a matrix, fused with the sums that make the gradient. Imported only to be compiled."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from assay.ops.kernels.geometry import LATENTS


@no_type_check
def adam_rows(
    piece, worker, rows_of, dense, starts, rows, order, values, matrix, gradients, mean, square, parameter,
    rate, beta1, beta2, eps, correction, unit,
):  # fmt: skip
    """One step on the rows of a piece, `rate` and `correction` as of this step.

        g = dense row + sum over the entries of the latent of value x matrix[row]
        unit rows: g -= (g . w) w
        m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  w -= rate m / (sqrt(v) / correction + eps)
        unit rows: w /= ||w||

    Where g is zero and nothing is remembered (beta1 = 0) only v changes. `dense` and `mean` may have no rows: then there is no such
    part of the gradient, and m is g.
    """
    depth, gradient = parameter.shape[1], gradients[worker]
    keep, share = np.float32(beta1), np.float32(1 - beta1)
    fade, part = np.float32(beta2), np.float32(1 - beta2)
    step, scale, tiny = np.float32(rate), np.float32(1 / correction), np.float32(eps)
    remembers = len(mean) > 0
    for latent in range(piece * LATENTS, min((piece + 1) * LATENTS, rows_of)):
        first, last = starts[latent], starts[latent + 1]
        if first == last and len(dense) == 0 and not remembers:
            for k in range(depth):
                square[latent, k] *= fade
            continue
        if len(dense) > 0:
            for k in range(depth):
                gradient[k] = dense[latent, k]
        else:
            for k in range(depth):
                gradient[k] = 0
        for place in range(first, last):
            value, row = values[order[place]], rows[place]
            for k in range(depth):
                gradient[k] += value * matrix[row, k]
        if unit:
            along = np.float32(0)
            for k in range(depth):
                along += gradient[k] * parameter[latent, k]
            for k in range(depth):
                gradient[k] -= along * parameter[latent, k]
        if remembers:
            for k in range(depth):
                mean[latent, k] = keep * mean[latent, k] + share * gradient[k]
                square[latent, k] = fade * square[latent, k] + part * gradient[k] * gradient[k]
                gradient[k] = mean[latent, k]
        else:
            for k in range(depth):
                square[latent, k] = fade * square[latent, k] + part * gradient[k] * gradient[k]
        length = np.float32(0)
        for k in range(depth):
            number = parameter[latent, k] - step * gradient[k] / (np.sqrt(square[latent, k]) * scale + tiny)
            parameter[latent, k] = number
            length += number * number
        if unit:
            inverse = np.float32(1) / np.sqrt(length)
            for k in range(depth):
                parameter[latent, k] *= inverse
