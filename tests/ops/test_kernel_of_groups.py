"""The compiled choice of the k strongest groups, against the plain formula: whole numbers, so that equality is exact, ties included."""

from __future__ import annotations

import math

import pytest
import torch

from assay.ops import kernels
from tests.ops.whole_numbers import csr, problem, product_of, same, whole


def plain_top_groups(table, bias, k, size):
    """The k groups of the largest norm of each row, ties to the lowest."""
    power = (table + bias).unflatten(1, (-1, size)).square().sum(-1)
    groups = power.argsort(dim=1, descending=True, stable=True)[:, :k]
    mask = torch.zeros_like(power, dtype=torch.bool).scatter(1, groups, True)
    return csr(mask.repeat_interleave(size, dim=1), table)


@pytest.mark.parametrize("size", [1, 3, 7, 16, 48, 100])
@pytest.mark.parametrize("groups", [1, 2, 23])
def test_top_groups_keeps_the_largest_norms_of_each_row(groups, size):
    """Sizes that fill a panel, that leave some of it empty, and that are larger than one."""
    x, center, encoder = problem(67, groups * size, 19)
    table = product_of(x, center, encoder)
    bias = whole(groups * size, key=3)
    for k in {1, min(groups, 5), groups}:
        found = kernels.top_groups(x, center, encoder, bias, k, size)
        if size > kernels.NR:  # PyTorch's top-k leaves open which of two ties comes first
            norms = (table + bias).unflatten(1, (-1, size)).square().sum(-1)
            chosen = found[1].view(67, k, size)[..., 0] // size
            same((norms.gather(1, chosen).sort().values,), (norms.topk(k).values.sort().values,))
        else:
            same(found, plain_top_groups(table, bias, k, size))


def test_top_groups_survives_buffers_that_overflow():
    """Each group is better than the one before: all 900 are candidates, more than are held."""
    x, encoder = torch.ones(3, 1), torch.arange(1800.0)[:, None]
    bias = torch.zeros(1800)
    found = kernels.top_groups(x, torch.zeros(1), encoder, bias, 5, 2)
    same(found, plain_top_groups((x @ encoder.T).double(), bias, 5, 2))


def test_top_groups_leaves_out_what_is_not_a_number():
    x, center, encoder = problem(5, 12, 7)
    x[2] = math.nan
    offsets, latents, products = kernels.top_groups(x, center, encoder, torch.zeros(12), 2, 3)
    assert offsets.diff().tolist() == [6, 6, 0, 6, 6]
    assert torch.isfinite(products).all()
    assert len(latents) == 24
