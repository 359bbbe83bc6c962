"""Principal axes and independent axes against what is known of the sample that they are found in."""

from __future__ import annotations

import torch

from assay import ops


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_principal_axes_are_those_of_the_singular_value_decomposition():
    x = torch.randn(300, 6, generator=generator(), dtype=torch.float64) @ torch.diag(torch.arange(6.0, 0, -1).double())
    x = x + 5
    axes, variances = ops.principal_axes(x, 4)
    _, singular, right = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    torch.testing.assert_close(variances, singular[:4].square() / 300)
    torch.testing.assert_close((axes * right[:4]).sum(1).abs(), torch.ones(4, dtype=torch.float64))
    assert bool((axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all())


def test_independent_axes_unmix_sparse_sources():
    sources = torch.randn(20_000, 5, generator=generator()) * (torch.rand(20_000, 5, generator=generator(1)) < 0.2)
    mixing = torch.randn(5, 8, generator=generator(2))
    x = sources @ mixing
    unmixing, directions = ops.independent_axes(x, 5, rounds=200, generator=generator(3))
    cosines = (directions @ (mixing / mixing.norm(dim=1, keepdim=True)).T).abs()
    assert cosines.amax(1).min() > 0.99
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(5))
    torch.testing.assert_close((x @ unmixing.T) @ directions, x, rtol=1e-4, atol=1e-4)


def test_axes_without_variance_stay_finite():
    x = torch.randn(50, 4, generator=generator())
    x[:, 2:] = 0
    for found in (*ops.principal_axes(x, 4), *ops.independent_axes(x, 4, rounds=20, generator=generator())):
        assert bool(torch.isfinite(found).all())
