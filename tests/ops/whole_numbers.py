"""Problems in whole numbers, which every path must solve exactly, ties included."""

from __future__ import annotations

import torch

from assay.codes import offsets_of


def whole(*shape, key=0, most=3):
    """Whole numbers from -most to most, in float32."""
    return torch.randint(-most, most + 1, shape, generator=torch.Generator().manual_seed(key)).float()


def csr(mask, table):
    rows, latents = mask.nonzero(as_tuple=True)
    return offsets_of(mask.sum(1)), latents, table[rows, latents].float()


def same(got, expected):
    assert len(got) == len(expected)
    for ours, plain in zip(got, expected, strict=True):
        assert ours.dtype == plain.dtype
        torch.testing.assert_close(ours, plain, rtol=0, atol=0, equal_nan=True)


def problem(rows, latents, width):
    """x, center, encoder."""
    return whole(rows, width), whole(width, key=1), whole(latents, width, key=2)


def product_of(x, center, encoder):
    return (x - center).double() @ encoder.double().T
